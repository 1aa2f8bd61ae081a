"""What the player shows, how it is worked, and what it leaves alone."""

# ruff: noqa: RUF001 - stretches of time have an en dash

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.browser.conftest import Mcp, Show

pytestmark = pytest.mark.browser

MAX_HEIGHT = 500
STATUSES = [
    ("in_progress", "In progress, 40 % done."),
    ("in_queue", "Waiting in the queue."),
    ("failed", "It failed. The source holds no audio."),
    ("cancelled", "Cancelled. Nothing was delivered."),
    ("unknown", "Nobody knows how it ended. The reply was lost."),
]
REASONS = {
    "failed": "The source holds no audio.",
    "cancelled": "Nothing was delivered.",
    "unknown": "The reply was lost.",
}


def without_takes(result: dict[str, Any]) -> dict[str, Any]:
    one = copy.deepcopy(result)
    structure = one["structuredContent"]
    structure["request_id"] = structure.pop("takes")[0]["request_id"]
    return one


def test_the_whole_is_shown_with_its_parts_its_takes_and_the_verdict(
    show: Show, result: dict[str, Any]
) -> None:
    structure = result["structuredContent"]
    with show(result) as shown:
        assert shown.text("#parts").split("\n") == ["Before 0:00–0:10", "Source 0:10–0:34", "After 0:34–0:46"]
        assert shown.text("#end") == "0:46"
        assert shown.frame.locator("#verdict").text_content() == structure["verdict"]
        assert shown.text("#path") == structure["path"]
        names = [each.inner_text().split()[:2] for each in shown.frame.locator("#takes span").all()]
        assert names == [["Take", "1"], ["Take", "2"], ["Take", "3"], ["Source"]]
        wave = shown.frame.locator("#wave")
        assert wave.get_attribute("aria-valuemax") == "46"
        assert wave.get_attribute("aria-valuetext").startswith("0:00 of 0:46, Before")
        pixels = "$('canvas').getContext('2d').getImageData(0, 0, $('canvas').width, $('canvas').height).data"
        assert shown.frame.evaluate(f"new Set({pixels}).size") > 10


def test_it_is_one_file_that_loads_nothing(show: Show, result: dict[str, Any]) -> None:
    with show(result) as shown:
        shown.frame.get_by_role("button", name="Play", exact=True).click()
        shown.play_for(0.2)
        assert [each for each in shown.requests if "host.test" not in each] == ["http://page.test/"]


def test_the_keyboard_does_all_of_it(show: Show, result: dict[str, Any]) -> None:
    with show(result) as shown:
        shown.frame.locator("#wave").focus()
        for _ in range(3):
            shown.frame.press("#wave", "ArrowRight")
        assert shown.frame.locator("#wave").get_attribute("aria-valuetext").startswith("0:15 of 0:46, Source")
        shown.frame.press("#wave", "ArrowLeft")
        assert shown.text("#now") == "0:10.0"
        shown.frame.press("#wave", "Home")
        shown.frame.press("#wave", "]")
        shown.until("$('now').textContent >= '0:07.6' && $('now').textContent < '0:20'")
        shown.frame.press("#wave", "]")
        shown.until("$('now').textContent >= '0:31.6'")
        shown.frame.press("#wave", "End")
        shown.frame.press("#wave", "[")
        shown.until("$('now').textContent < '0:45'")
        shown.frame.press("#wave", "2")
        assert shown.frame.get_by_label("Take 2").is_checked()
        shown.frame.press("#wave", "s")
        assert shown.frame.get_by_label("Source").is_checked()
        shown.frame.press("#wave", "s")
        assert shown.frame.get_by_label("Take 2").is_checked()
        shown.frame.press("#wave", "l")
        assert shown.frame.locator("#loop").get_attribute("aria-pressed") == "true"
        shown.frame.press("#wave", " ")
        assert shown.frame.locator("#play").get_attribute("aria-label") == "Play"


def test_tab_reaches_everything_and_leaves_again(show: Show, result: dict[str, Any]) -> None:
    with show(result) as shown:
        shown.page.evaluate("document.querySelector('iframe').focus()")
        reached = []
        for _ in range(12):
            shown.page.keyboard.press("Tab")
            reached.append(
                shown.frame.evaluate(
                    "document.hasFocus() ? document.activeElement.id || document.activeElement.textContent : ''"
                )
            )
        first = [each for each in reached if each]
        assert [first[0].startswith("choice-"), *first[1:6]] == [
            True,
            "wave",
            "play",
            "Seam 0:10",
            "Seam 0:34",
            "loop",
        ]
        assert "" in reached


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 720])
def test_it_fits_and_can_be_read_by_everybody(
    show: Show, result: dict[str, Any], theme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    longest = copy.deepcopy(result)
    structure = longest["structuredContent"]
    for each in (structure, *structure["takes"]):
        each["verdict"] += " Beats slip by 40 ms after the seam at 0:34; try another seed." * 6
        each["path"] = each["path"].replace("Evening walk", "A very long evening walk along the river " * 4)
    with show(longest, theme=theme, width=width) as shown:
        for is_whole in (False, True):
            if is_whole:
                shown.frame.get_by_role("button", name="Full verdict").click()
            height, content, available = shown.frame.evaluate(
                "[$('player').offsetHeight, document.documentElement.scrollWidth, innerWidth]"
            )
            assert height < MAX_HEIGHT
            assert content == available
            targets = [
                each.bounding_box() for each in shown.frame.locator("button:visible, #takes label").all()
            ]
            assert min(box["height"] for box in targets if box) >= 44
            assert min(box["width"] for box in targets if box) >= 44
            found = axe.run(shown.frame).response["violations"]
            assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
        assert shown.asked("ui/notifications/size-changed")[-1]["height"] < MAX_HEIGHT


def test_what_fits_is_shown_and_nothing_is_offered_that_is_there_already(
    show: Show, result: dict[str, Any]
) -> None:
    with show(result, width=320) as shown:
        more, best = shown.frame.locator("#more"), shown.frame.locator("#takes small")
        assert more.is_visible()
        assert not best.is_visible()
        shown.page.set_viewport_size({"width": 512, "height": 600})
        best.wait_for()
        shown.page.set_viewport_size({"width": 1200, "height": 600})
        more.wait_for(state="hidden")


def test_the_hosts_colours_are_taken_over_while_it_is_shown(show: Show, result: dict[str, Any]) -> None:
    with show(result) as shown:
        ground = "getComputedStyle(document.body).backgroundColor"
        assert shown.frame.evaluate(ground) == "rgb(255, 255, 255)"
        shown.page.evaluate("tell('ui/notifications/host-context-changed', { theme: 'dark' })")
        shown.until(f"{ground} === 'rgb(28, 28, 32)'")
        variables = {"--color-background-primary": "#102030"}
        shown.page.evaluate(
            "(variables) => tell('ui/notifications/host-context-changed', { styles: { variables } })",
            variables,
        )
        shown.until(f"{ground} === 'rgb(16, 32, 48)'")


@pytest.mark.parametrize(("status", "words"), STATUSES)
def test_what_is_not_there_is_explained(show: Show, status: str, words: str) -> None:
    structure = {"request_id": "op_1", "status": status, "message": REASONS.get(status, "")}
    if status == "in_progress":
        structure["progress"] = "0.4"
    with show({"content": [], "structuredContent": structure}, can={}) as shown:
        assert shown.text("#state") == words
        assert not shown.frame.locator("#stage").is_visible()


def test_a_request_under_way_is_followed_to_its_end(show: Show, mcp: Mcp) -> None:
    submission = mcp.call("submit_outpaint", audio="Evening walk.wav", tags="", extend_after_duration=4)
    request_id = submission["structuredContent"]["request_id"]
    under_way = {"request_id": request_id, "status": "in_queue", "message": ""}
    with show({"content": [], "structuredContent": under_way}) as shown:
        shown.until("!$('stage').hidden")
        assert shown.text("#end") == "0:28"
        shown.frame.get_by_role("button", name="Play", exact=True).click()
        shown.play_for(0.2)


def test_an_answer_that_comes_as_text_alone_is_understood(show: Show, result: dict[str, Any]) -> None:
    with show({"content": result["content"]}) as shown:
        assert shown.text("#end") == "0:46"


def test_an_error_of_the_tool_is_shown(show: Show) -> None:
    failed = {"isError": True, "content": [{"type": "text", "text": "There is no such request."}]}
    with show(failed) as shown:
        assert shown.text("#state") == "There is no such request."


def test_a_host_that_passes_nothing_on_shows_the_verdict_and_the_path(
    show: Show, result: dict[str, Any]
) -> None:
    with show(without_takes(result), can={}) as shown:
        assert shown.text("#parts").split("\n")[1] == "Source 0:10–0:34"
        assert "Open the file to listen to it." in shown.text("#message")
        assert shown.text("#path") == result["structuredContent"]["path"]
        assert shown.frame.locator("#play, #download, #delete").filter(visible=True).count() == 0


def test_a_piece_that_does_not_come_is_no_silence_but_words(show: Show, result: dict[str, Any]) -> None:
    def refuse(uri: str, _content: dict[str, Any]) -> None:
        if "/preview/" in uri:
            raise ConnectionError

    with show(result, reads=refuse) as shown:
        shown.frame.get_by_role("button", name="Play", exact=True).click()
        shown.until("$('message').textContent.startsWith('No sound: ')")
        assert shown.frame.get_by_role("button", name="Play", exact=True).is_visible()


def test_what_leaves_the_page_is_asked_of_the_host(show: Show, result: dict[str, Any]) -> None:
    linked = copy.deepcopy(result)
    for take in linked["structuredContent"]["takes"]:
        take["url"] = f"https://music.test/files/{take['request_id']}"
    linked["_meta"] = {"outpaint-mcp/deleteUrl": "https://music.test/delete/c.d"}
    first, second, _ = (take["url"] for take in linked["structuredContent"]["takes"])
    with show(linked, can={"serverResources": {}, "openLinks": {}}) as shown:
        shown.frame.get_by_role("button", name="Download").click()
        shown.frame.get_by_label("Take 2").check()
        shown.frame.get_by_role("button", name="Download").click()
        shown.frame.get_by_role("button", name="Delete…").click()
        shown.page.wait_for_function("asked.filter((each) => each.method === 'ui/open-link').length === 3")
        opened = [each["url"] for each in shown.asked("ui/open-link")]
        assert opened == [first, second, "https://music.test/delete/c.d"]
    with show(linked, can={"serverResources": {}, "downloadFile": {}}) as shown:
        shown.frame.get_by_role("button", name="Download").click()
        shown.page.wait_for_function("asked.some((each) => each.method === 'ui/download-file')")
        [download] = shown.asked("ui/download-file")
        assert download == {"contents": [{"type": "resource_link", "uri": first, "name": "Evening walk"}]}
        assert not shown.frame.locator("#delete").is_visible()


def test_only_the_host_is_listened_to(show: Show, result: dict[str, Any]) -> None:
    with show(result) as shown:
        forged = {
            "jsonrpc": "2.0",
            "method": "ui/notifications/tool-result",
            "params": {
                "content": [],
                "structuredContent": {"request_id": "op_1", "status": "failed", "error": "Forged."},
            },
        }
        shown.frame.evaluate("(forged) => window.postMessage(forged, '*')", forged)
        shown.page.wait_for_timeout(200)
        assert not shown.frame.locator("#waiting").is_visible()


def test_it_ends_when_the_host_takes_it_away(show: Show, result: dict[str, Any]) -> None:
    with show(result) as shown:
        shown.frame.get_by_role("button", name="Play", exact=True).click()
        shown.play_for(0.2)
        for method in ("ping", "ui/resource-teardown", "ui/unknown"):
            shown.page.evaluate(
                "(method) => frame.contentWindow.postMessage({ jsonrpc: '2.0', id: method, method, params: {} }, '*')",
                method,
            )
        shown.until("$('play').getAttribute('aria-label') === 'Play'")
        answers = {each["id"]: each for each in shown.page.evaluate("asked") if "method" not in each}
        assert answers["ping"]["result"] == {}
        assert answers["ui/resource-teardown"]["result"] == {}
        assert answers["ui/unknown"]["error"]["code"] == -32601
