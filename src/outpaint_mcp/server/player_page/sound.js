// The sound: pieces of music, decoded as they are needed, and put one after the other to the frame.
// A frame is one instant of the music; a tick is a frame of the audio clock. Both run at the same rate.

const FADE_SECONDS = 0.008; // hides the edge of a jump
const LEAD_SECONDS = 0.04; // from deciding to sounding
const AHEAD_SECONDS = 5; // background tabs wake up once a second
const CACHED_SECONDS = 240; // 85 MB of stereo

class Sound {
  /**
   * @param {function(string, number, number): Promise<Object>} read a piece of a take: id, start and length in seconds.
   * @param {function(): void} onChange called when it begins, ends, waits, or goes on.
   * @param {function(string): void} onTrouble called with the reason where there is no sound.
   */
  constructor(read, onChange, onTrouble) {
    Object.assign(this, { read, onChange, onTrouble });
    this.context = null;
    this.pieces = new Map(); // the least recently used first
    this.track = null;
    this.sourceOnly = false;
    this.loop = null;
    this.isPlaying = false;
    this.isWaiting = false;
    this.segments = []; // scheduled, in order
    this.rest = 0; // the frame to start from, while nothing plays
    this.turn = 0; // of several wishes that wait for their pieces, the last one counts
  }

  /** The frame that sounds now, or at a tick to come. */
  position(tick = this.#now()) {
    if (!this.isPlaying) return this.rest;
    const segment = this.segments.find((each) => tick < each.tick + each.frames) ?? this.segments.at(-1);
    if (segment === undefined) return this.cursor;
    return segment.from + Math.min(Math.max(0, Math.floor(tick) - segment.tick), segment.frames);
  }

  async play() {
    if (this.track === null || this.isPlaying) return;
    if (this.rest >= this.track.frames) this.rest = 0;
    this.isPlaying = true;
    this.cursor = this.rest;
    await this.#open();
    await this.#go(() => this.rest);
  }

  pause() {
    if (!this.isPlaying) return;
    this.rest = this.position();
    this.#stop();
  }

  async seek(frame) {
    frame = Math.round(Math.min(Math.max(0, frame), this.track.frames));
    this.rest = frame;
    if (this.loop && (frame < this.loop.from || frame >= this.loop.to)) this.loop = null;
    if (this.isPlaying) await this.#go(() => frame);
    else this.onChange();
  }

  /** Go on with another take, or with the source alone, at the same place in the music. */
  async choose(track, sourceOnly) {
    if (this.isPlaying) {
      await this.#go((tick) => this.position(tick), track, sourceOnly);
    } else {
      Object.assign(this, { track, sourceOnly });
      this.rest = Math.min(this.rest, track.frames);
    }
  }

  /** Repeat from one frame to another; null goes on from here. */
  async repeat(loop) {
    this.loop = loop;
    const start = (at) => (loop && (at < loop.from || at >= loop.to) ? loop.from : at);
    this.rest = start(this.rest);
    if (this.isPlaying) await this.#go((tick) => start(this.position(tick)));
  }

  close() {
    this.pause();
    this.context?.close();
    this.pieces.clear();
  }

  /** From a tick soon on, play `track` from the frame that `where(tick)` names; what sounds goes on until then. */
  async #go(where, track = this.track, sourceOnly = this.sourceOnly) {
    const turn = ++this.turn;
    const first = Math.min(where(this.#now()), track.frames - 1);
    try {
      if (this.#cached(track, first) === undefined) this.#wait(true);
      await this.#piece(track, first);
    } catch (error) {
      if (turn === this.turn) this.#fail(error);
      return;
    }
    if (turn !== this.turn || !this.isPlaying) return;
    this.isWaiting = false;
    const tick = Math.ceil(this.#now() + LEAD_SECONDS * this.track.rate);
    const frame = where(tick);
    this.#cut(tick);
    Object.assign(this, { track, sourceOnly, cursor: frame, cursorTick: tick, afterJump: true });
    this.#fill();
    this.onChange();
  }

  /** Schedule what comes next, as far ahead as is needed. */
  #fill() {
    clearTimeout(this.timer);
    if (!this.isPlaying) return;
    const now = this.#now();
    while (this.segments.length > 1 && this.segments[0].tick + this.segments[0].frames < now) this.segments.shift();
    while (this.cursorTick < now + AHEAD_SECONDS * this.track.rate) {
      if (this.cursor === this.loop?.to) Object.assign(this, { cursor: this.loop.from, afterJump: true });
      if (this.cursor >= this.track.frames) {
        if (this.cursorTick <= now) this.#end();
        break;
      }
      const piece = this.#cached(this.track, this.cursor);
      if (piece === undefined) {
        this.#await(this.track, this.cursor);
        break;
      }
      if (this.cursorTick < now) {
        this.cursorTick = Math.ceil(now + LEAD_SECONDS * this.track.rate); // the piece came late
        this.afterJump = true;
      }
      this.#schedule(piece);
    }
    this.timer = setTimeout(() => this.#fill(), 200);
  }

  #schedule(piece) {
    const { rate, level, parts } = this.track;
    const part = parts.find((each) => this.cursor < each.to) ?? parts.at(-1);
    const ends = [piece.start + piece.frames, this.track.frames];
    if (this.sourceOnly) ends.push(part.to);
    if (this.loop && this.cursor < this.loop.to) ends.push(this.loop.to);
    const end = Math.min(...ends.filter((each) => each > this.cursor));
    const segment = { tick: this.cursorTick, from: this.cursor, frames: end - this.cursor };
    if (!this.sourceOnly || part.kind === "source") {
      segment.gain = this.context.createGain();
      segment.node = this.context.createBufferSource();
      segment.node.buffer = piece.buffer;
      segment.node.connect(segment.gain).connect(this.context.destination);
      const since = segment.tick / rate;
      const until = (segment.tick + segment.frames) / rate;
      const fade = Math.min(FADE_SECONDS, (until - since) / 2);
      segment.gain.gain.setValueAtTime(this.afterJump ? 0 : level, since);
      if (this.afterJump) segment.gain.gain.linearRampToValueAtTime(level, since + fade);
      if (end === this.loop?.to) {
        segment.gain.gain.setValueAtTime(level, until - fade);
        segment.gain.gain.linearRampToValueAtTime(0, until);
      }
      segment.level = level;
      segment.node.start(since, (piece.skip + this.cursor - piece.start) / rate, segment.frames / rate);
    }
    this.segments.push(segment);
    this.cursor = end;
    this.cursorTick += segment.frames;
    this.afterJump = false;
    if (end < this.track.frames) this.#piece(this.track, end).catch(() => {}); // asked for again when it is due
  }

  /** End what sounds at a tick, under what begins there. */
  #cut(tick) {
    const { rate } = this.track;
    for (const { node, gain, level, ...segment } of this.segments) {
      if (node === undefined || segment.tick + segment.frames <= tick) continue;
      const since = Math.max(tick, segment.tick) / rate;
      gain.gain.cancelScheduledValues(since);
      gain.gain.setValueAtTime(segment.tick < tick ? level : 0, since);
      gain.gain.linearRampToValueAtTime(0, since + FADE_SECONDS);
      node.stop(since + FADE_SECONDS);
    }
    this.segments = [];
  }

  async #await(track, frame) {
    const { turn } = this;
    this.#wait(true);
    try {
      await this.#piece(track, frame);
      if (turn === this.turn) this.#wait(false);
    } catch (error) {
      if (turn === this.turn) this.#fail(error);
    }
  }

  #wait(isWaiting) {
    if (this.isWaiting === isWaiting) return;
    this.isWaiting = isWaiting;
    this.onChange();
  }

  #end() {
    this.rest = this.track.frames;
    this.#stop();
  }

  #fail(error) {
    this.rest = this.position();
    this.#stop();
    this.onTrouble(error.message);
  }

  #stop() {
    this.turn += 1;
    clearTimeout(this.timer);
    if (this.context) this.#cut(Math.ceil(this.#now()));
    Object.assign(this, { segments: [], isPlaying: false, isWaiting: false });
    this.onChange();
  }

  /** Open the way to the loudspeakers, at the music's own rate: nothing is resampled before it is mixed. */
  async #open() {
    this.context ??= new AudioContext({ sampleRate: this.track.rate, latencyHint: "interactive" });
    if (this.context.state !== "running") await this.context.resume();
  }

  #now() {
    return this.context === null ? 0 : Math.round(this.context.currentTime * this.track.rate);
  }

  #key(track, frame) {
    return `${track.id} ${Math.floor(frame / (track.pieceSeconds * track.rate))}`;
  }

  #cached(track, frame) {
    return this.pieces.get(this.#key(track, frame))?.piece;
  }

  /** Get the piece that a frame lies in; it is read and decoded once, for as long as there is room for it. */
  #piece(track, frame) {
    const key = this.#key(track, frame);
    const found = this.pieces.get(key) ?? { promise: this.#load(track, frame) };
    this.pieces.delete(key);
    this.pieces.set(key, found);
    while (this.pieces.size * track.pieceSeconds > CACHED_SECONDS) this.pieces.delete(this.pieces.keys().next().value);
    return found.promise.then(
      (piece) => (found.piece = piece),
      (error) => {
        this.pieces.delete(key);
        throw error;
      },
    );
  }

  async #load(track, frame) {
    const start = Math.floor(frame / (track.pieceSeconds * track.rate)) * track.pieceSeconds;
    const answer = await this.read(track.id, start, track.pieceSeconds);
    await this.#open();
    const buffer = await this.context.decodeAudioData(bytesOf(answer.audio).buffer);
    // Decoders disagree on an MP3's delay: the loudest frame at its beginning is a mark, from which frames are counted.
    const opening = buffer.getChannelData(0).subarray(0, answer.mark_within_frames);
    const mark = opening.reduce((best, value, at) => (Math.abs(value) > Math.abs(opening[best]) ? at : best), 0);
    return { start: answer.start_frame, frames: answer.frames, skip: mark + answer.after_mark_frames, buffer };
  }
}

const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
