// Original and restored side by side in time: both run from one moment of the audio clock, and switching
// only turns one's gain down and the other's up. Nothing is restarted, so the place is kept to the sample.

const SKIP_S = 2;
const RAMP_S = 0.005; // against clicks
const SAMPLE_RATE = 44100;

// After a click the focus stays on the opened row's own button: Space plays there, Enter closes.
const isToggleOfOpened = (node) => node.matches('.open[aria-expanded="true"]');

class Player {
  constructor(elements, start, seconds, onMove) {
    this.names = Object.keys(elements);
    this.elements = elements;
    this.start = start; // of the excerpt in the track, in seconds
    this.onMove = onMove;
    this.side = this.names.at(-1);
    this.isPlaying = false;
    this.offset = 0;
    this.duration = seconds; // to the sample once it is decoded
    this.isWanted = false; // while it is still decoded: whether to play then
    this.tracks = null;
    this.build();
  }

  build() {
    const button = (label, action, attributes = {}) => element("button", { type: "button", onclick: action, ...attributes }, label);
    this.playButton = button("Play", () => this.toggle(), { class: "play" });
    this.sideButtons = this.names.map((name) =>
      button(name === "original" ? "A · original" : "B · restored", () => this.choose(name), { "data-side": name }));
    this.time = element("output", { class: "clock" });
    this.slider = element("input", { type: "range", min: 0, max: this.duration, step: 0.01, value: 0, "aria-label": "Place in the excerpt" });
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    const keys = [["Space", "play"], ["← →", `${SKIP_S} s`]];
    if (this.names.length > 1) keys.push(["X", "switch"]);
    const hints = element("p", { class: "hints" }, ...keys.flatMap(([key, says]) => [element("kbd", {}, key), ` ${says} `]));
    this.message = element("p", { class: "message", role: "status" });
    this.node = element("div", { class: "player", role: "group", "aria-label": "Player of the excerpt" },
      this.playButton,
      element("div", { class: "sides", role: "group", "aria-label": "What is heard" }, ...this.sideButtons),
      this.slider, this.time, hints, this.message);
    this.show();
  }

  async load() {
    this.context ||= new AudioContext({ sampleRate: SAMPLE_RATE });
    const context = this.context;
    const decoded = await Promise.all(this.names.map((name) =>
      context.decodeAudioData(bytesOfBase64(this.elements[name].textContent).buffer)));
    if (this.isClosed) return;
    this.tracks = this.names.map((name, i) => {
      const gain = context.createGain();
      gain.gain.value = name === this.side ? 1 : 0;
      gain.connect(context.destination);
      return { name, buffer: decoded[i], gain, source: null };
    });
    this.duration = Math.min(...decoded.map((buffer) => buffer.duration));
    this.slider.max = this.duration;
  }

  position() {
    if (!this.isPlaying) return this.offset;
    const played = Math.max(0, this.context.currentTime - this.startedAt);
    return Math.min(this.duration, this.offset + played);
  }

  async toggle() {
    if (this.isPlaying) this.pause();
    else if (this.isWanted) this.isWanted = false;
    else await this.play();
  }

  async play() {
    this.isWanted = true;
    try {
      if (!this.tracks) await (this.loading ||= this.load());
      if (this.isClosed) return;
      await this.context.resume();
    } catch (error) {
      this.isWanted = false;
      if (this.isClosed) return;
      this.message.textContent = `This browser cannot play it: ${error.message}`;
      return;
    }
    if (this.isPlaying || this.isClosed || !this.isWanted) return;
    this.isWanted = false;
    if (this.offset >= this.duration) this.offset = 0;
    this.startedAt = this.context.currentTime + 0.02;
    for (const track of this.tracks) {
      track.source = this.context.createBufferSource();
      track.source.buffer = track.buffer;
      track.source.connect(track.gain);
      track.source.start(this.startedAt, this.offset);
    }
    this.isPlaying = true;
    this.follow();
  }

  pause() {
    this.offset = this.position();
    this.isPlaying = false;
    for (const track of this.tracks) {
      track.source.stop();
      track.source.disconnect();
    }
    this.show();
  }

  hush() { // also what is still decoded, to be played then
    this.isWanted = false;
    if (this.isPlaying) this.pause();
  }

  async seek(seconds) {
    const wasPlaying = this.isPlaying;
    if (wasPlaying) this.pause();
    this.offset = Math.max(0, Math.min(this.duration, seconds));
    this.show();
    if (wasPlaying && this.offset < this.duration) await this.play();
  }

  choose(side) {
    this.side = side;
    for (const { name, gain } of this.tracks || []) {
      const now = this.context.currentTime;
      gain.gain.cancelScheduledValues(now);
      gain.gain.setValueAtTime(gain.gain.value, now);
      gain.gain.linearRampToValueAtTime(name === side ? 1 : 0, now + RAMP_S);
    }
    this.show();
  }

  switchSides() {
    if (this.names.length > 1) this.choose(this.names.find((name) => name !== this.side));
  }

  follow() {
    if (!this.isPlaying) return;
    if (this.position() >= this.duration) this.pause();
    this.show();
    requestAnimationFrame(() => this.follow());
  }

  show() {
    const position = this.position();
    this.playButton.textContent = this.isPlaying ? "Pause" : "Play";
    for (const each of this.sideButtons) each.setAttribute("aria-pressed", String(each.dataset.side === this.side));
    this.slider.value = position;
    this.slider.setAttribute("aria-valuetext", `${position.toFixed(1)} seconds`);
    this.time.textContent = clock(this.start + position, 1);
    this.onMove(this.start + position);
  }

  onKey(event) {
    const target = event.target;
    const isOurs = target === this.slider || !target.matches("input, select, textarea");
    if (!isOurs || event.ctrlKey || event.metaKey || event.altKey) return;
    const onButton = target.matches("button, a, summary") && !isToggleOfOpened(target);
    const actions = {
      " ": onButton ? null : () => this.toggle(),
      ArrowLeft: () => this.seek(this.position() - SKIP_S),
      ArrowRight: () => this.seek(this.position() + SKIP_S),
      x: () => this.switchSides(),
      X: () => this.switchSides(),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  onKeyUp(event) { // some browsers press a button then, whatever became of the key going down
    if (event.key === " " && isToggleOfOpened(event.target)) event.preventDefault();
  }

  close() {
    this.isClosed = true;
    if (this.isPlaying) this.pause();
    if (this.context) this.context.close();
  }
}
