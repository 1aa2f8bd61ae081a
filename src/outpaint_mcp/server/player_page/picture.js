// The picture: the waveform of the whole, its parts in their colours, its seams and sections.

const SECTIONS_HEIGHT = 16;

/** Draw a track; the colours are those of the style sheet, in the theme of the moment. */
function draw(canvas, track, sourceOnly) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.font = `11px ${getComputedStyle(canvas).fontFamily}`;
  const at = (frame) => (frame / track.frames) * width;
  const low = height - (track.sections.length ? SECTIONS_HEIGHT : 0);
  for (const part of track.parts) {
    pen.globalAlpha = sourceOnly && part.kind !== "source" ? 0.25 : 1;
    pen.fillStyle = colour(part.kind);
    if (track.peaks.length) drawWaves(pen, track, at(part.from), at(part.to), width, low);
    else pen.fillRect(at(part.from), low / 2 - 8, at(part.to) - at(part.from), 16);
  }
  pen.globalAlpha = 1;
  drawSections(pen, track, at, low, height);
  pen.fillStyle = colour("seam");
  for (const join of track.joins) {
    const isSeam = track.seams.includes(join);
    if (isSeam) pen.fillRect(Math.round(at(join)) - 0.5, 0, 1.5, low);
    drawFlag(pen, at(join), isSeam ? 5 : 3);
  }
}

function drawFlag(pen, x, size) {
  pen.beginPath();
  pen.moveTo(x - size, 0);
  pen.lineTo(x + size, 0);
  pen.lineTo(x, 1.6 * size);
  pen.fill();
}

/** One bar every three points: the loudest of what lies beneath it. */
function drawWaves(pen, { peaks }, from, to, width, height) {
  const middle = height / 2;
  const pairs = peaks.length / 2;
  for (let x = Math.ceil(from / 3) * 3; x < to; x += 3) {
    const first = Math.floor((x / width) * pairs);
    const last = Math.max(first + 1, Math.ceil(((x + 3) / width) * pairs));
    let [bottom, top] = [0, 0];
    for (let pair = first; pair < Math.min(last, pairs); pair += 1) {
      bottom = Math.min(bottom, peaks[2 * pair]);
      top = Math.max(top, peaks[2 * pair + 1]);
    }
    const reach = (middle - 10) / 127;
    pen.beginPath();
    pen.roundRect(x, middle - Math.max(1, top * reach), 2, Math.max(2, (top - bottom) * reach), 1);
    pen.fill();
  }
}

function drawSections(pen, { sections }, at, low, height) {
  let written = 0;
  for (const { label, from, to } of sections) {
    pen.fillStyle = colour("line");
    pen.fillRect(at(from) + 0.5, low + 2, Math.max(1, at(to) - at(from) - 1.5), 1);
    const left = at(from) + 3;
    if (left < written || pen.measureText(label).width > at(to) - left) continue;
    pen.fillStyle = colour("quiet");
    pen.fillText(label, left, height - 3);
    written = left + pen.measureText(label).width + 4;
  }
}

/** A canvas knows no `light-dark()`: an element that has the colour says which it is. */
function colour(name) {
  const probe = document.getElementById("head");
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}
