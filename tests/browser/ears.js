// Notes all sound that a page schedules, before its own scripts run: what comes out is then computed, sample by sample,
// whatever the machine's speed.
(() => {
  const sounds = [];
  const note = (prototype, name, keep) => {
    const original = prototype[name];
    prototype[name] = function (...args) {
      if (!(this.context instanceof OfflineAudioContext)) keep(this, args); // which only computes what was noted
      return original.apply(this, args);
    };
  };
  note(AudioNode.prototype, "connect", (node, [to]) => (node.leadsTo = to));
  for (const name of ["setValueAtTime", "linearRampToValueAtTime", "cancelScheduledValues"]) {
    note(AudioParam.prototype, name, (param, args) => (param.events ??= []).push([name, args]));
  }
  note(AudioBufferSourceNode.prototype, "start", (node, args) => sounds.push({ node, start: args }));
  note(AudioBufferSourceNode.prototype, "stop", (node, args) => {
    const sound = sounds.find((each) => each.node === node);
    if (sound) sound.stop = args;
  });

  /** All that was scheduled so far, as { at, offset, seconds } in seconds; buffers are numbered. */
  window.scheduled = () => {
    const buffers = [];
    return sounds.map(({ node, start: [at, offset, seconds], stop }) => {
      if (!buffers.includes(node.buffer)) buffers.push(node.buffer);
      return { at, offset, seconds, stop: stop?.[0] ?? null, buffer: buffers.indexOf(node.buffer) };
    });
  };

  /** What comes out at the loudspeakers from one second to another: the left channel as a list. */
  window.rendered = async (from, to, rate) => {
    const offline = new OfflineAudioContext(2, Math.round(to * rate), rate);
    for (const { node, start, stop } of sounds) {
      const source = new AudioBufferSourceNode(offline, { buffer: node.buffer });
      const gain = new GainNode(offline);
      for (const [name, args] of node.leadsTo.gain.events ?? []) gain.gain[name](...args);
      if (!(node.leadsTo.leadsTo instanceof AudioDestinationNode)) throw new Error("it leads nowhere");
      source.connect(gain).connect(offline.destination);
      source.start(...start);
      if (stop) source.stop(...stop);
    }
    const out = await offline.startRendering();
    return Array.from(out.getChannelData(0).subarray(Math.round(from * rate)));
  };

  /** The clock of the page's own sound, in seconds; null before there is any. */
  window.soundClock = () => sounds.at(-1)?.node.context.currentTime ?? null;
})();
