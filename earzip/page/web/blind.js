// The blind test, ABX: is X the sound A or the sound B? A dialogue of three sheets: what to compare, the
// trials, the result. All of it works by keyboard; letters and digits act wherever the focus is in it.

const TRIAL_COUNTS = [10, 16, 20];
const USUAL_COUNT = 16;
const SMALL_CHANCE = 0.05;

class BlindTest {
  constructor(row, sounds, start) {
    this.row = row;
    this.sounds = sounds;
    this.start = start; // of the excerpt in the track, in seconds
    this.keys = {};
    this.node = element("dialog", { class: "blind", "aria-labelledby": "blind-title" });
    this.node.addEventListener("cancel", (event) => this.onCancel(event));
    this.node.addEventListener("close", () => this.end());
    document.body.append(this.node);
  }

  get isOpen() { return this.node.open; }

  open() {
    this.chosen = [0, 1];
    this.showSetup();
    this.node.showModal();
    this.title.focus();
  }

  end() {
    this.stage?.close();
    this.stage = null;
    this.trials = null;
    this.node.replaceChildren();
  }

  close() { // with the detail
    if (this.isOpen) this.node.close();
    this.node.remove();
  }

  // The sheets

  sheet(title, keys, ...parts) {
    this.keys = keys;
    this.title = element("h2", { id: "blind-title", tabindex: -1 }, title);
    this.message = element("p", { class: "message", role: "status" });
    this.node.replaceChildren(this.title, ...parts, this.message);
    if (this.isOpen) this.title.focus();
  }

  showSetup() {
    this.stage?.close();
    this.stage = null;
    this.trials = null;
    const level = element("p", { class: "remark" });
    const showLevel = () => { level.textContent = matchedLevels(this.pair()).says; };
    const choice = (k) => {
      const options = this.sounds.map(({ label, about }, i) =>
        element("option", { value: i, selected: i === this.chosen[k] }, about.sound === "original" ? label : `${label} (${about.file})`));
      const select = element("select", { onchange: () => { this.chosen[k] = Number(select.value); showLevel(); } }, ...options);
      return element("label", {}, "AB"[k], " ", select);
    };
    const count = element("select", {}, ...TRIAL_COUNTS.map((each) => element("option", { selected: each === USUAL_COUNT }, String(each))));
    const tells = element("input", { type: "checkbox" });
    const begin = () => this.begin(Number(count.value), tells.checked);
    this.sheet("Blind test", { Enter: begin },
      element("p", {}, "In each trial X is A or B, drawn by chance, and Y is the other one. Listen as often and as long as you like, then say which X is. The score is shown after the last trial."),
      element("div", { class: "choices" }, choice(0), choice(1),
        element("label", {}, "Trials ", count),
        element("label", {}, tells, " practice: tell after each trial if it was right (there is no p-value then)")),
      level,
      element("div", { class: "actions" }, button("Begin", begin, { class: "main" }), button("Close", () => this.node.close())));
    showLevel();
  }

  async begin(count, isPractice) {
    if (this.stage) return; // it is being decoded
    if (this.chosen[0] === this.chosen[1]) {
      this.message.textContent = "A and B are the same sound: choose another.";
      return;
    }
    const levels = matchedLevels(this.pair());
    const stage = new Stage(this.pair(), levels.gains);
    this.stage = stage;
    this.message.textContent = "Decoding …";
    try {
      await stage.load();
    } catch (error) {
      if (stage.isClosed) return;
      stage.close();
      this.stage = null;
      this.message.textContent = `This browser cannot play it: ${error.message}`;
      return;
    }
    if (stage.isClosed) return;
    this.levels = levels;
    this.isPractice = isPractice;
    this.trials = new Trials(count);
    this.nextTrial("");
  }

  nextTrial(news) {
    const { stage, trials } = this;
    stage.pause();
    stage.xIsB = trials.xIsB;
    stage.heard = "A";
    this.said = null; // whether X is B
    this.hasHeardX = false;
    this.trialBegan = performance.now();
    const labels = { A: `A · ${this.pair()[0].label}`, B: `B · ${this.pair()[1].label}`, X: "X", Y: "Y" };
    this.voiceButtons = VOICES.map((name) =>
      button(labels[name], () => this.hear(name), { "data-voice": name, "aria-keyshortcuts": name }));
    this.playButton = button("Play", () => this.toggle(), { class: "main play", "aria-keyshortcuts": "Space" });
    this.answerButtons = [["X is A", false, "1"], ["X is B", true, "2"]].map(([label, isB, key]) =>
      button(label, () => this.say(isB), { "data-is-b": String(isB), "aria-keyshortcuts": key }));
    this.place = element("output", { class: "clock" });
    this.edges = [["Part from", 0], ["to", 1]].map(([label, k]) => {
      const input = element("input", { type: "range", min: 0, max: stage.seconds, step: 0.1, value: stage.part[k] });
      input.addEventListener("change", () => this.setEdge(k, Number(input.value)));
      return element("label", {}, `${label} `, input, element("output"));
    });
    const hear = (name) => () => this.hear(name);
    const keys = {
      a: hear("A"), b: hear("B"), x: hear("X"), y: hear("Y"), " ": () => this.toggle(),
      1: () => this.say(false), 2: () => this.say(true), Enter: () => this.confirm(),
      ArrowLeft: () => stage.skip(-SKIP_S), ArrowRight: () => stage.skip(SKIP_S),
      "[": () => this.setEdge(0, stage.position()), "]": () => this.setEdge(1, stage.position()),
    };
    const hints = [["A B X Y", "listen"], ["Space", "play, pause"], ["← →", `${SKIP_S} s`], ["[ ]", "part begins, ends here"], ["1 2", "X is A, X is B"], ["Enter", "next trial"]];
    this.sheet(`Trial ${trials.done.length + 1} of ${trials.count}`, keys,
      element("div", { class: "voices", role: "group", "aria-label": "What is heard" }, ...this.voiceButtons, this.playButton, this.place),
      element("div", { class: "edges", role: "group", "aria-label": "The part that is repeated, in seconds" }, ...this.edges),
      element("div", { class: "actions", role: "group", "aria-label": "Your answer" }, ...this.answerButtons,
        button("Next trial", () => this.confirm(), { class: "main", "aria-keyshortcuts": "Enter" }),
        button("End the test", () => this.stopEarly(), { class: "quiet" })),
      element("p", { class: "hints" }, ...hints.flatMap(([key, says]) => [element("kbd", {}, key), ` ${says} `])));
    this.message.textContent = news;
    this.showTrial();
    this.follow();
  }

  showTrial() {
    const { stage } = this;
    for (const each of this.voiceButtons) each.setAttribute("aria-pressed", String(stage.isPlaying && each.dataset.voice === stage.heard));
    for (const each of this.answerButtons) each.setAttribute("aria-pressed", String(each.dataset.isB === String(this.said)));
    this.playButton.textContent = stage.isPlaying ? "Pause" : "Play";
    this.edges.forEach((label, k) => {
      const [input, shown] = label.querySelectorAll("input, output");
      input.value = stage.part[k];
      shown.textContent = `${stage.part[k].toFixed(1)} s`;
    });
  }

  follow() {
    if (!this.stage || !this.trials || this.place.isConnected === false) return;
    this.place.textContent = clock(this.start + this.stage.position(), 1);
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.follow());
  }

  showResult() {
    const { trials } = this;
    this.stage.pause();
    this.stage.close();
    this.result = this.record();
    const cells = (name, ...texts) => element("tr", {}, ...texts.map((text) => element(name, { scope: name === "th" ? "col" : null }, text)));
    const rows = trials.done.map(({ x, answer, right, seconds }, i) =>
      cells("td", String(i + 1), x, answer, right ? "right" : "wrong", `${seconds.toFixed(1)} s`));
    this.sheet(`${trials.nRight} of ${trials.done.length} right`, { s: () => this.save() },
      element("p", { class: "verdict" }, verdict(trials, this.isPractice)),
      element("p", { class: "remark" }, `A: ${this.pair()[0].label}. B: ${this.pair()[1].label}. ${this.levels.says}`),
      element("div", { class: "actions" },
        button("Save the result", () => this.save(), { class: "main", "aria-keyshortcuts": "S" }),
        button("Another test", () => this.showSetup()), button("Close", () => this.node.close())),
      element("table", {}, element("caption", { class: "unseen" }, "The trials"),
        element("thead", {}, cells("th", "Trial", "X was", "You said", "Answer", "Time")), element("tbody", {}, ...rows)));
  }

  // What the keys and buttons do

  pair() { return this.chosen.map((i) => this.sounds[i]); }

  hear(name) {
    this.hasHeardX ||= name === "X" || name === "Y";
    this.stage.hear(name);
    this.showTrial();
  }

  toggle() {
    if (this.stage.isPlaying) this.stage.pause();
    else this.stage.play();
    this.showTrial();
  }

  say(isB) {
    this.said = isB;
    this.message.textContent = `${isB ? "X is B" : "X is A"}. Enter confirms.`;
    this.showTrial();
  }

  setEdge(k, seconds) {
    const part = [...this.stage.part];
    part[k] = seconds;
    this.stage.setPart(...part);
    this.showTrial();
  }

  confirm() {
    if (!this.hasHeardX) this.message.textContent = "Listen to X or Y first.";
    else if (this.said === null) this.message.textContent = "Say first which X is: 1 for A, 2 for B.";
    else this.take();
  }

  take() {
    const { trials, stage } = this;
    const seconds = Math.round(performance.now() - this.trialBegan) / 1000;
    const part_s = stage.part.map((each) => Number((this.start + each).toFixed(2)));
    trials.answer(this.said, { seconds, part_s });
    const last = trials.done.at(-1);
    if (trials.isComplete) this.showResult();
    else this.nextTrial(this.isPractice ? `Trial ${trials.done.length} was ${last.right ? "right" : "wrong"}: X was ${last.x}.` : "");
  }

  stopEarly() {
    if (this.trials.done.length) this.showResult();
    else this.showSetup();
  }

  onCancel(event) { // Escape
    if (!this.trials?.done.length || this.trials.isComplete || this.isWarned) return;
    event.preventDefault();
    this.isWarned = true;
    setTimeout(() => { this.isWarned = false; }, 3000);
    this.message.textContent = "Escape once more gives the test up: nothing of it is kept.";
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const { key, target } = event;
    if (target.matches("select, input[type=checkbox]")) return;
    if (target.matches("button") && (key === " " || key === "Enter")) return;
    if (target.matches("input") && key.startsWith("Arrow")) return;
    const action = this.keys[key.length === 1 ? key.toLowerCase() : key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  // The result

  record() {
    const { trials, levels } = this;
    const [a, b] = this.pair().map(({ about, lufs }, k) => ({ ...about, lufs, gain_db: levels.gains[k] }));
    return {
      type: "abx", made: new Date().toISOString(), page: summary.made, track: this.row.label,
      a, b, trials_chosen: trials.count, trials_done: trials.done.length, practice: this.isPractice,
      n_right: trials.nRight, p_value: this.isPractice ? null : trials.chance, trials: trials.done,
    };
  }

  save() {
    const name = this.row.label.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60);
    const text = `${JSON.stringify(this.result, null, 1)}\n`;
    const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    const file = `abx-${name}-${this.result.made.slice(0, 19).replaceAll(":", "")}.json`;
    element("a", { href, download: file }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10000);
    this.message.textContent = `Saved as ${file}.`;
  }
}

const button = (label, action, attributes = {}) => element("button", { type: "button", onclick: action, ...attributes }, label);

function verdict(trials, isPractice) {
  if (!trials.isComplete) return `The test was ended after ${trials.done.length} of ${counted(trials.count, "trial")}, so there is no p-value.`;
  if (isPractice) return "This was practice: who knows the score on the way can stop when it is good, so there is no p-value.";
  const { nRight, count, chance } = trials;
  const guessing = `Guessing gets ${nRight} or more of ${count} right with probability p = ${significant(chance)} (binomial, exact, one-sided).`;
  return chance < SMALL_CHANCE
    ? `${guessing} You most likely hear a difference.`
    : `${guessing} This does not show that you hear a difference, nor that there is none.`;
}
