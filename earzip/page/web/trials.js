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
