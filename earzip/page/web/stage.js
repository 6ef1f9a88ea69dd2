// What a blind test plays: four voices in step, A, B, X and Y, one of them heard. X and Y play the buffers of
// A and B. Each change of voice, also one between equal sounds, goes down to silence and up again: a change
// straight from one waveform to another can be heard as such, and would tell whether X is what played before.

const DIP_S = 0.01; // down, and as long up
const EDGE_S = 0.005; // of the looped part, against clicks
const SHORTEST_PART_S = 0.5;
const LEAD_S = 0.04; // what is asked for begins so much later, lest a busy browser begin it in the middle
const VOICES = ["A", "B", "X", "Y"];

class Fader { // a gain whose present value is known: not every browser tells it
  constructor(context) {
    this.node = context.createGain();
    this.node.gain.value = 0;
    this.points = [[0, 0]];
  }

  at(time) {
    let [before, from] = this.points[0];
    for (const [after, to] of this.points.slice(1)) {
      if (time < after) return from + (to - from) * Math.max(0, (time - before) / (after - before));
      [before, from] = [after, to];
    }
    return from;
  }

  follow(begin, ...points) { // up to `begin` it goes on as it was told before
    const course = [[begin, this.at(begin)], ...points];
    this.node.gain.cancelScheduledValues(begin);
    for (const [time, value] of course) this.node.gain.linearRampToValueAtTime(value, time);
    this.points = [...this.points.filter(([time]) => time < begin).slice(-3), ...course];
  }
}

class Stage {
  constructor(sounds, gainsDb) {
    this.sounds = sounds; // of A and of B
    this.gains = gainsDb.map((db) => 10 ** (db / 20));
    this.heard = "A";
    this.isPlaying = false;
    this.offset = 0; // in the part, in seconds
    this.xIsB = false;
  }

  async load() {
    this.context = new AudioContext({ sampleRate: SAMPLE_RATE });
    this.decoded = await Promise.all(this.sounds.map((sound) =>
      this.context.decodeAudioData(bytesOfBase64(excerptOf(sound).textContent).buffer)));
    this.seconds = Math.min(...this.decoded.map((buffer) => buffer.duration));
    this.setPart(0, this.seconds);
  }

  setPart(from, to) {
    const wasPlaying = this.isPlaying;
    this.pause();
    const shortest = Math.min(SHORTEST_PART_S, this.seconds);
    from = Math.max(0, Math.min(from, this.seconds - shortest));
    this.part = [from, Math.min(this.seconds, Math.max(to, from + shortest))];
    this.offset = 0;
    this.buffers = this.decoded.map((buffer, i) => this.cut(buffer, this.gains[i]));
    if (wasPlaying) this.play();
  }

  cut(buffer, gain) {
    const [begin, end] = this.part.map((seconds) => Math.round(seconds * SAMPLE_RATE));
    const cut = this.context.createBuffer(buffer.numberOfChannels, end - begin, SAMPLE_RATE);
    const edge = EDGE_S * SAMPLE_RATE;
    for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
      const samples = buffer.getChannelData(channel).slice(begin, end);
      samples.forEach((sample, i) => {
        samples[i] = sample * gain * Math.min(1, (i + 1) / edge, (samples.length - i) / edge);
      });
      cut.copyToChannel(samples, channel);
    }
    return cut;
  }

  position() { // in the excerpt
    const whole = this.part[1] - this.part[0];
    const played = this.isPlaying ? Math.max(0, this.context.currentTime - this.startedAt) : 0;
    return this.part[0] + ((this.offset + played) % whole);
  }

  play() {
    if (this.isPlaying) return;
    this.context.resume();
    this.startedAt = this.context.currentTime + LEAD_S + DIP_S; // after what was paused has gone down
    this.voices = VOICES.map((name) => {
      const isB = { A: false, B: true, X: this.xIsB, Y: !this.xIsB }[name];
      const fader = new Fader(this.context);
      fader.node.connect(this.context.destination);
      const source = this.context.createBufferSource();
      source.buffer = this.buffers[Number(isB)];
      source.loop = true;
      source.connect(fader.node);
      source.start(this.startedAt, this.offset);
      if (name === this.heard) fader.follow(this.startedAt, [this.startedAt + DIP_S, 1]);
      return { name, source, fader };
    });
    this.isPlaying = true;
  }

  pause() {
    if (!this.isPlaying) return;
    this.offset = this.position() - this.part[0];
    this.isPlaying = false;
    const begin = this.context.currentTime + LEAD_S;
    for (const { source, fader } of this.voices) {
      fader.follow(begin, [begin + DIP_S, 0]);
      source.stop(begin + DIP_S);
    }
  }

  hear(name) {
    if (this.isPlaying && name !== this.heard) {
      const begin = this.context.currentTime + LEAD_S;
      for (const voice of this.voices) {
        const up = voice.name === name ? [[begin + 2 * DIP_S, 1]] : [];
        voice.fader.follow(begin, [begin + DIP_S, 0], ...up);
      }
    }
    this.heard = name;
    this.play();
  }

  skip(seconds) {
    const wasPlaying = this.isPlaying;
    const whole = this.part[1] - this.part[0];
    const place = this.position() - this.part[0] + seconds;
    this.pause();
    this.offset = ((place % whole) + whole) % whole;
    if (wasPlaying) this.play();
  }

  close() {
    this.isClosed = true;
    if (this.context?.state !== "closed") this.context?.close();
  }
}
