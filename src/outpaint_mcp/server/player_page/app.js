// The page: what a result is, and what the person does with it.

const LEAD_IN_SECONDS = 2.5; // before a seam
const STEP_SECONDS = 5;
const POLL_SECONDS = 10; // how long a call waits for news
const SECTIONS_SECONDS = 8; // until an analysis may have ended
const TALL = 495; // hosts cut off what is higher
const KINDS = { before: "Before", source: "Source", after: "After", inside: "Added inside" };
const ENDED = ["completed", "failed", "cancelled", "unknown"];

const $ = (id) => document.getElementById(id);
const clock = (seconds, digits = 0) => {
  const rounded = (digits ? Math.floor(seconds * 10) / 10 : Math.round(seconds)) || 0;
  const rest = (rounded % 60).toFixed(digits).padStart(digits ? 4 : 2, "0");
  return `${Math.floor(rounded / 60)}:${rest}`;
};

const host = new Host({
  "ui/notifications/tool-input": ({ arguments: args }) => (shown.arguments = args ?? {}),
  "ui/notifications/tool-result": (result) => receive(result),
  "ui/notifications/tool-cancelled": () => wait("The call was cancelled. The request itself goes on."),
  "ui/notifications/host-context-changed": (context) => dress(context),
  "ui/resource-teardown": () => close(),
  ping: () => ({}),
});
const sound = new Sound(
  (id, start, length) => host.read(`outpaint://requests/${encodeURIComponent(id)}/preview/${start}/${length}`),
  () => showSound(),
  (reason) => say(`No sound: ${reason}`, true),
);
const shown = { arguments: {}, result: null, tracks: [], track: null, seam: null, isClosed: false };

// What the host says

function dress({ theme, styles, safeAreaInsets: inset }) {
  const root = document.documentElement;
  if (theme) root.style.colorScheme = theme;
  for (const [name, value] of Object.entries(styles?.variables ?? {})) {
    if (name.startsWith("--") && value) root.style.setProperty(name, value);
  }
  if (inset) document.body.style.padding = `${inset.top}px ${inset.right}px ${inset.bottom}px ${inset.left}px`;
  redraw();
}

function receive(result) {
  const answer = structureOf(result);
  if (result.isError || !answer?.request_id) wait(textOf(result) || "There is no result.", true);
  else show(answer);
}

async function show(result) {
  shown.result = result;
  if (result.path || result.url) await showMusic(result);
  else if (ENDED.includes(result.status) && result.status !== "completed") wait(endOf(result), result.status !== "cancelled");
  else wait(progressOf(result), false, result.progress ?? null);
  if (!ENDED.includes(result.status) || (result.status === "completed" && !result.path && !result.url)) await follow(result);
}

const endOf = ({ status, error, message }) =>
  ({ failed: "It failed. ", cancelled: "Cancelled. ", unknown: "Nobody knows how it ended. " })[status] + (error ?? message ?? "");

function progressOf({ status, queue_position: place, progress }) {
  if (status === "in_queue") return place ? `Waiting in the queue, place ${place}.` : "Waiting in the queue.";
  return progress ? `In progress, ${Math.round(progress * 100)} % done.` : "In progress.";
}

/** Ask how it goes until it has ended, where the host lets a page ask; only then for the result, which may ask the person. */
async function follow(result) {
  if (!host.can.serverTools || shown.isClosed) return;
  try {
    let seen = result;
    while (!ENDED.includes(seen.status)) {
      seen = await host.callTool("get_outpaint_status", { request_id: result.request_id, wait_seconds: POLL_SECONDS });
      if (shown.isClosed || shown.result !== result) return;
      if (!shown.track && !ENDED.includes(seen.status)) wait(progressOf(seen), false, seen.progress ?? null);
      await pauseFor(1);
    }
    const args = { ...shown.arguments, request_id: result.request_id, wait_seconds: POLL_SECONDS };
    const final = await host.callTool("get_outpaint_result", args);
    if (!shown.isClosed && shown.result === result) await show(final);
  } catch (error) {
    say(`This page cannot ask how it goes on: ${error.message}`, true);
  }
}

const pauseFor = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

function close() {
  shown.isClosed = true;
  sound.close();
}

// What there is to see and to choose from

function wait(text, isWrong = false, progress = undefined) {
  $("waiting").hidden = false;
  $("state").textContent = text;
  $("state").style.color = isWrong ? "var(--wrong)" : "";
  $("progress").hidden = progress === undefined;
  if (progress === null) $("progress").removeAttribute("value");
  else if (progress !== undefined) $("progress").value = progress;
}

async function showMusic(result) {
  const listed = (result.takes ?? [result]).filter((take) => take.path || take.request_id === result.request_id || take.status === "completed");
  const whole = result.takes ? await glance(result.request_id) : {};
  const tracks = await Promise.all(
    listed.map(async (take, rank) => {
      const seen = whole.request_id === take.request_id ? whole : await glance(take.request_id);
      return trackOf({ ...(rank === 0 ? result : {}), ...take }, seen, rank === 0);
    }),
  );
  const order = whole.takes?.map((take) => take.request_id) ?? listed.map((take) => take.request_id); // a result lists the best first
  for (const track of tracks) track.name = result.takes ? `Take ${order.indexOf(track.id) + 1}` : "Result";
  const loudness = tracks.map((track) => track.lufs).filter(Number.isFinite);
  for (const track of tracks) {
    // The louder ones are turned down to the quietest: nothing is ever turned up into clipping.
    track.level = Number.isFinite(track.lufs) ? 10 ** ((Math.min(...loudness) - track.lufs) / 20) : 1;
  }
  shown.tracks = tracks;
  $("waiting").hidden = true;
  $("stage").hidden = $("verdict").hidden = $("file").hidden = false;
  showTakes();
  await choose(tracks.find((track) => track.id === shown.track?.id) ?? tracks[0], sound.sourceOnly);
}

/** What there is to see of a take; nothing but the reason where the host or the server does not show it. */
async function glance(id) {
  if (!host.can.serverResources) return { trouble: "this app cannot fetch it. Open the file to listen to it." };
  try {
    return await host.read(`outpaint://requests/${encodeURIComponent(id)}/peaks`);
  } catch (error) {
    return { trouble: error.message };
  }
}

/** One take as it is drawn and played; without peaks and pieces, where only the result describes it. */
function trackOf(take, seen, isBest) {
  const rate = seen.preview?.sample_rate ?? 44100;
  const total = seen.duration_seconds ?? take.duration_seconds ?? shown.result.duration_seconds ?? 0;
  const before = shown.result.before_seconds ?? 0;
  const after = total - (shown.result.after_seconds ?? 0);
  const parts = seen.parts ?? [
    { kind: "before", start_seconds: 0, end_seconds: before },
    { kind: "source", start_seconds: before, end_seconds: after },
    { kind: "after", start_seconds: after, end_seconds: total },
  ];
  const inFrames = (each) => ({ ...each, from: Math.round(each.start_seconds * rate), to: Math.round(each.end_seconds * rate) });
  const stretches = parts.map(inFrames).filter((part) => part.to > part.from);
  const track = {
    id: take.request_id,
    title: seen.title,
    rate,
    frames: Math.round(total * rate),
    parts: stretches.reduce(joined, []),
    joins: stretches.slice(1).map((part) => part.from), // seams, and where what was added is put together
    sections: (seen.sections ?? []).map(inFrames),
    lufs: seen.loudness_lufs ?? take.measured?.lufs,
    peaks: new Int8Array(bytesOf(seen.peaks ?? "").buffer),
    pieceSeconds: seen.preview?.piece_seconds,
    path: take.path,
    verdict: take.verdict ?? "Not measured: listen to it.",
    download: /^https?:/.test(take.url ?? "") ? take.url : undefined,
    delete: shown.result.delete_url,
    isBest,
    trouble: seen.trouble,
  };
  track.seams = track.parts.slice(1).map((part) => part.from);
  if (seen.preview && !seen.sections) setTimeout(() => addSections(track, inFrames), SECTIONS_SECONDS * 1000);
  return track;
}

/** Put a stretch to those before it: as one with the last, where it is of the same kind. */
function joined(parts, part) {
  const last = parts.at(-1);
  return last?.kind === part.kind ? [...parts.slice(0, -1), { ...last, to: part.to }] : [...parts, part];
}

/** Sections come from an analysis, which takes a while: look once more. */
async function addSections(track, inFrames) {
  if (shown.isClosed) return;
  const seen = await glance(track.id);
  track.sections = (seen.sections ?? []).map(inFrames);
  redraw();
}

function showTakes() {
  const source = { name: "Source", isSource: true };
  const choices = [...shown.tracks].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  shown.choices = choices;
  const labels = [...choices, source].map((choice, index) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    const text = document.createElement("span");
    Object.assign(input, { type: "radio", name: "take", id: choice.isSource ? "choice-source" : `choice-${choice.id}` });
    input.setAttribute("aria-keyshortcuts", choice.isSource ? "s" : String(index + 1));
    input.addEventListener("change", () => choose(choice.isSource ? shown.track : choice, Boolean(choice.isSource)));
    text.textContent = choice.name;
    if (choice.isBest && choices.length > 1) text.append(Object.assign(document.createElement("small"), { textContent: "best" }));
    label.append(input, text);
    return label;
  });
  $("takes").replaceChildren($("takes").firstElementChild, ...labels);
}

async function choose(track, sourceOnly) {
  const isOther = track !== shown.track;
  shown.track = track;
  $(sourceOnly ? "choice-source" : `choice-${track.id}`).checked = true;
  if (isOther) showTrack(track);
  redraw(sourceOnly);
  if (track.trouble) say(`No sound: ${track.trouble}`, true);
  else say("");
  await sound.choose(track, sourceOnly);
  showSound();
}

function showTrack(track) {
  const name = (track.path ?? "").split(/[\\/]/).at(-1);
  $("title").textContent = track.title ?? (name || "Extended recording");
  $("facts").textContent = [clock(track.frames / track.rate), shown.result.written].filter(Boolean).join(" · ");
  $("end").textContent = clock(track.frames / track.rate);
  $("wave").setAttribute("aria-valuemax", Math.round(track.frames / track.rate));
  $("path").textContent = track.path ?? "";
  $("path").hidden = !track.path;
  const [judgement, ...grounds] = track.verdict.split(/(?<=:)/);
  $("verdict").replaceChildren(Object.assign(document.createElement("strong"), { textContent: judgement }), ...grounds);
  $("download").hidden = !track.download || !(host.can.downloadFile || host.can.openLinks);
  $("delete").hidden = !track.delete || !host.can.openLinks;
  $("parts").replaceChildren(
    ...track.parts.map(({ kind, from, to }) => {
      const item = document.createElement("li");
      item.style.setProperty("--colour", `var(--${kind})`);
      item.textContent = `${KINDS[kind]} ${clock(from / track.rate)}–${clock(to / track.rate)}`;
      return item;
    }),
  );
  $("seams").replaceChildren(
    ...track.seams.map((seam) => {
      const button = document.createElement("button");
      const time = clock(seam / track.rate);
      Object.assign(button, { type: "button", textContent: `Seam ${time}`, title: `Play from just before the seam at ${time} ([ and ])` });
      button.addEventListener("click", () => playSeam(seam));
      return button;
    }),
  );
  const isPlayable = Boolean(track.pieceSeconds);
  $("controls").hidden = !isPlayable;
  $("loop").hidden = track.joins.length === 0;
  $("wave").setAttribute("role", isPlayable ? "slider" : "img");
  $("wave").tabIndex = isPlayable ? 0 : -1;
  $("takes").hidden = !isPlayable && shown.tracks.length < 2;
  measureVerdict();
}

// What the person does

const togglePlay = () => (sound.isPlaying ? sound.pause() : play());

async function play() {
  say("");
  await sound.play();
}

async function playSeam(seam) {
  shown.seam = seam;
  const { rate } = shown.track;
  if (sound.loop) await sound.repeat(around(seam));
  await sound.seek(Math.max(0, seam - LEAD_IN_SECONDS * rate));
  await play();
}

const around = (seam) => {
  const { rate, frames } = shown.track;
  return { from: Math.max(0, Math.round(seam - LEAD_IN_SECONDS * rate)), to: Math.min(frames, Math.round(seam + LEAD_IN_SECONDS * rate)) };
};

async function toggleLoop() {
  const { joins } = shown.track;
  if (joins.length === 0) return;
  const here = sound.position();
  const nearest = joins.reduce((best, each) => (Math.abs(each - here) < Math.abs(best - here) ? each : best));
  await sound.repeat(sound.loop ? null : around(nearest));
  showSound();
  if (sound.loop && !sound.isPlaying) await play();
}

function jumpToJoin(direction) {
  const here = sound.position() + LEAD_IN_SECONDS * shown.track.rate;
  const slack = 1.5 * shown.track.rate; // so that a second press goes on to the next one
  const { joins } = shown.track;
  const next = direction > 0 ? joins.find((join) => join > here + 1) : joins.findLast((join) => join < here - slack);
  if (next !== undefined) playSeam(next);
}

const move = (seconds) => sound.seek(sound.position() + seconds * shown.track.rate);

const KEYS = {
  " ": togglePlay,
  ArrowLeft: () => move(-STEP_SECONDS),
  ArrowRight: () => move(STEP_SECONDS),
  Home: () => sound.seek(0),
  End: () => sound.seek(shown.track.frames),
  s: () => choose(shown.track, !sound.sourceOnly),
  l: toggleLoop,
  "[": () => jumpToJoin(-1),
  "]": () => jumpToJoin(1),
};

document.addEventListener("keydown", (event) => {
  if (!shown.track?.pieceSeconds || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // A button's space is its own, and so are the arrows within a choice.
  if (event.target.matches("button") && key === " ") return;
  if (event.target.matches("input") && /^( |Arrow.*)$/.test(key)) return;
  const take = shown.choices[Number(key) - 1];
  const act = KEYS[key] ?? (take && (() => choose(take, false)));
  if (!act) return;
  event.preventDefault();
  act();
});

function seekTo(event) {
  const box = $("wave").getBoundingClientRect();
  sound.seek(((event.clientX - box.left) / box.width) * shown.track.frames);
}

$("wave").addEventListener("pointerdown", (event) => {
  if (shown.track?.pieceSeconds && event.button === 0) seekTo(event);
});
$("play").addEventListener("click", togglePlay);
$("loop").addEventListener("click", toggleLoop);

$("download").addEventListener("click", () => {
  const { download: uri } = shown.track;
  const name = $("title").textContent;
  if (host.can.downloadFile) ask("ui/download-file", { contents: [{ type: "resource_link", uri, name }] });
  else ask("ui/open-link", { url: uri });
});

$("more").addEventListener("click", () => showVerdict(!("whole" in $("verdict").dataset)));
$("delete").addEventListener("click", () => ask("ui/open-link", { url: shown.track.delete })); // a page that asks first

/** Have the host do what a page in its sandbox cannot. */
async function ask(method, params) {
  try {
    const answer = await host.request(method, params);
    if (answer.isError) say("This app refused.", true);
  } catch (error) {
    say(`This app refused: ${error.message}`, true);
  }
}

// What changes while it plays

function say(text, isWrong = false) {
  $("message").textContent = text;
  $("message").toggleAttribute("data-wrong", isWrong);
}

function showVerdict(isWhole) {
  $("verdict").toggleAttribute("data-whole", isWhole);
  $("more").setAttribute("aria-expanded", String(isWhole));
  $("more").textContent = isWhole ? "Less" : "Full verdict";
  $("player").removeAttribute("data-reading");
  $("player").toggleAttribute("data-reading", isWhole && $("player").offsetHeight > TALL);
}

function measureVerdict() {
  showVerdict(false);
  $("more").hidden = $("verdict").scrollHeight <= $("verdict").clientHeight + 1;
}

function redraw(sourceOnly = sound.sourceOnly) {
  if (shown.track) draw($("canvas"), shown.track, sourceOnly);
}

function showSound() {
  const { isPlaying, isWaiting, loop } = sound;
  $("play").toggleAttribute("data-playing", isPlaying);
  $("play").setAttribute("aria-label", isPlaying ? "Pause" : "Play");
  $("play").setAttribute("aria-busy", String(isWaiting));
  $("loop").setAttribute("aria-pressed", String(Boolean(loop)));
  cancelAnimationFrame(shown.frame);
  showPosition();
}

const isCalm = window.matchMedia("(prefers-reduced-motion: reduce)");

function showPosition() {
  const { track } = shown;
  if (!track) return;
  const at = sound.position();
  const share = track.frames ? at / track.frames : 0;
  $("head").style.left = `${share * 100}%`;
  const now = clock(at / track.rate, 1);
  if ($("now").textContent !== now) {
    $("now").textContent = now;
    const inside = (each) => at >= each.from && at < each.to;
    const part = track.parts.find(inside) ?? track.parts.at(-1);
    const section = track.sections.find(inside);
    const where = [`${clock(at / track.rate)} of ${clock(track.frames / track.rate)}`, KINDS[part?.kind], section && `section ${section.label}`];
    $("wave").setAttribute("aria-valuenow", Math.round(at / track.rate));
    $("wave").setAttribute("aria-valuetext", where.filter(Boolean).join(", "));
  }
  if (!sound.isPlaying) return;
  if (isCalm.matches) setTimeout(() => (shown.frame = requestAnimationFrame(showPosition)), 250);
  else shown.frame = requestAnimationFrame(showPosition);
}

new ResizeObserver(() => {
  redraw();
  host.notify("ui/notifications/size-changed", { width: $("player").offsetWidth, height: Math.ceil($("player").getBoundingClientRect().height) });
}).observe($("player"));

window.addEventListener("resize", () => {
  if (!("whole" in $("verdict").dataset)) measureVerdict();
});

if (window.parent === window) wait("This page is shown by an MCP host, beside a result.");
else host.connect().then(dress, (error) => wait(`The host did not answer: ${error.message}`, true));
