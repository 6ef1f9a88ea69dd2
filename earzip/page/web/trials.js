// The trials of a blind test: their number is chosen ahead, X is drawn anew for each, and the score is kept
// back until all are done.

class Trials {
  constructor(count) {
    this.count = count;
    this.done = [];
    this.draw();
  }

  draw() {
    this.xIsB = crypto.getRandomValues(new Uint8Array(1))[0] % 2 === 1;
  }

  answer(saysB, about) {
    const nameOf = (isB) => (isB ? "B" : "A");
    this.done.push({ x: nameOf(this.xIsB), answer: nameOf(saysB), right: saysB === this.xIsB, ...about });
    this.draw();
  }

  get isComplete() { return this.done.length === this.count; }

  get nRight() { return this.done.filter(({ right }) => right).length; }

  get chance() { return this.isComplete ? chanceByGuessing(this.nRight, this.count) : null; }
}

// The chance that guessing gets `right` or more of `count` trials right: the upper tail of the binomial
// distribution for 1/2, exact and one-sided. (D. Clark, High-resolution subjective testing using a
// double-blind comparator, J. Audio Eng. Soc. 30 (5), 1982.)
function chanceByGuessing(right, count) {
  let ways = 1; // to choose k of count
  let sum = 0;
  for (let k = count; k >= right; k -= 1) {
    sum += ways;
    ways = (ways * k) / (count - k + 1);
  }
  return sum / 2 ** count;
}

// What a test can compare: the original, and every archive of the page that was made from it.
function soundsToCompare(row, rows) {
  const source = row.source?.sha256;
  const others = rows.filter((each) => each !== row && each.view !== null && source && each.source?.sha256 === source);
  const views = [row, ...others].map((each) => ({ each, view: viewOf(each) }));
  const original = views.map(({ view }) => view.sides.original).find(excerptOf);
  const sounds = views.filter(({ view }) => excerptOf(view.sides.restored)).map(({ each, view }) => ({
    ...view.sides.restored,
    label: `restored, ${each.model} ${each.quality}`,
    about: {
      sound: "restored", file: each.name, sha256: view.archive_sha256, source_sha256: each.source?.sha256 ?? null,
      model: each.model, model_sha256: each.model_sha256 ?? null, quality: each.quality, kbps: each.kbps,
    },
  }));
  if (original) {
    sounds.unshift({
      ...original,
      label: "original",
      about: { sound: "original", file: row.source?.name ?? null, sha256: source ?? null },
    });
  }
  return sounds;
}

// The louder sound is turned down: nothing is clipped.
function matchedLevels(sounds) {
  const [a, b] = sounds.map(({ lufs }) => lufs);
  if (a === null || b === null) return { gains: [0, 0], says: "Levels are not matched: one of the sounds is too quiet or too short to have a loudness." };
  const louder = a > b ? "A" : "B";
  const difference = Math.abs(a - b);
  const figures = `${[a, b].map((lufs) => lufs.toFixed(2).replace("-", "−")).join(" and ")} LUFS by ITU-R BS.1770`;
  return {
    gains: [Math.min(0, b - a), Math.min(0, a - b)],
    says: `Levels are matched: A and B have ${figures}, and ${louder} is turned down by ${difference.toFixed(2)} dB.`,
  };
}
