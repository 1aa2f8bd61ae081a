"""What an extended file consists of."""

from outpaint_mcp.audio.layout import Layout, Part, PartKind

FILE = Layout(
    10,
    (
        Part(PartKind.LEAD_IN, 5),
        Part(PartKind.NEW, 20, 100),
        Part(PartKind.SOURCE, 50, 0),
        Part(PartKind.NEW, 15),
        Part(PartKind.RING_OUT, 10),
    ),
)


def test_full_music_lies_between_the_beginning_and_the_ending_that_were_added() -> None:
    assert (FILE.full_from, FILE.full_to, FILE.frames) == (5, 90, 100)
    bare = Layout(10, (Part(PartKind.SOURCE, 50, 0),))
    assert (bare.full_from, bare.full_to) == (0, 50)


def test_every_boundary_is_a_seam() -> None:
    assert FILE.seams() == (5, 25, 75, 90)


def test_a_stretch_has_the_parts_inside_it_cut_to_its_ends() -> None:
    assert FILE.between(10, 30) == (Part(PartKind.NEW, 15, 105), Part(PartKind.SOURCE, 5, 0))
    assert FILE.between(30, 80) == (Part(PartKind.SOURCE, 45, 5), Part(PartKind.NEW, 5))
    assert FILE.between(0, 100) == FILE.parts


def test_what_is_cut_out_of_a_file_at_another_rate_is_not_known() -> None:
    assert FILE.cut(3, 50, 10) == Layout(10, FILE.between(30, 80))
    assert FILE.cut(3, 50, 20) is None
