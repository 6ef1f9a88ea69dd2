// Pictures of sound: grey levels coloured here, so that they suit the theme and can be read out in dB.

const { scales } = summary;
const FREQUENCIES = [0.5, 1, 2, 5, 10, 20]; // kHz

const isDark = () => {
  const forced = document.documentElement.dataset.theme;
  return forced ? forced === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

const mel = (hz) => 2595 * Math.log10(1 + hz / 700);
const heightOf = (hz) => mel(hz) / mel(scales.top_hz);
const hzAt = (height) => 700 * (10 ** ((height * mel(scales.top_hz)) / 2595) - 1);

function palette(kind) {
  if (kind === "levels") return bytesOfHex(scales.levels.colours);
  return bytesOfHex(isDark() ? scales.difference.dark : scales.difference.light);
}

const bytesOfHex = (text) => Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));

class LevelPicture {
  constructor(webp, kind, caption, description, duration) {
    this.kind = kind;
    this.duration = duration;
    this.canvas = element("canvas", { role: "img", "aria-label": description });
    this.cursor = element("div", { class: "cursor", hidden: true });
    this.plot = element("div", { class: "plot" }, this.canvas, this.cursor);
    this.figure = element("figure", { class: "levels" },
      element("figcaption", {}, element("span", {}, caption), this.legend()),
      element("div", { class: "axes" }, frequencyAxis(), this.plot));
    this.ready = this.read(webp);
  }

  async read(webp) {
    const image = await createImageBitmap(new Blob([bytesOfBase64(webp)], { type: "image/webp" }));
    this.canvas.width = image.width;
    this.canvas.height = image.height;
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    this.data = context.getImageData(0, 0, image.width, image.height);
    this.grey = this.data.data.filter((_, i) => i % 4 === 0);
    this.paint();
  }

  paint() {
    this.paintLegend();
    if (!this.grey) return;
    const [colours, pixels] = [palette(this.kind), this.data.data];
    this.grey.forEach((level, i) => {
      for (let c = 0; c < 3; c += 1) pixels[4 * i + c] = colours[3 * level + c];
      pixels[4 * i + 3] = 255;
    });
    this.canvas.getContext("2d").putImageData(this.data, 0, 0);
  }

  legend() {
    const { low, high } = scales[this.kind];
    this.ramp = element("canvas", { class: "ramp", width: 256, height: 1, "aria-hidden": "true" });
    return element("span", { class: "legend" }, decibels(low), this.ramp, decibels(high));
  }

  paintLegend() {
    const colours = palette(this.kind);
    const line = new ImageData(256, 1);
    for (let i = 0; i < 256; i += 1) line.data.set([...colours.slice(3 * i, 3 * i + 3), 255], 4 * i);
    this.ramp.getContext("2d").putImageData(line, 0, 0);
  }

  decibelsAt(x, y) { // both 0 to 1, from the left and from the top
    if (!this.grey) return null;
    const { width, height } = this.canvas;
    const column = Math.min(width - 1, Math.floor(x * width));
    const line = Math.min(height - 1, Math.floor(y * height));
    const { low, high } = scales[this.kind];
    return low + ((high - low) * this.grey[line * width + column]) / 255;
  }
}

function frequencyAxis() {
  const ticks = FREQUENCIES.map((kHz) => {
    const tick = element("span", {}, kHz === 20 ? "20 kHz" : String(kHz));
    tick.style.bottom = `${100 * heightOf(1000 * kHz)}%`;
    return tick;
  });
  return element("div", { class: "frequencies", "aria-hidden": "true" }, ...ticks);
}

function timeAxis(duration, mostTicks) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 18000];
  const step = steps.find((each) => duration / each <= mostTicks) || steps.at(-1);
  const ticks = [];
  for (let i = 0; i * step <= duration * 0.96; i += 1) {
    const tick = element("span", {}, clock(i * step, step < 1 ? 1 : 0));
    tick.style.left = `${(100 * i * step) / duration}%`;
    ticks.push(tick);
  }
  return element("div", { class: "times", "aria-hidden": "true" }, ...ticks);
}

function waveform(sides, duration, excerpt) {
  const paths = Object.entries(sides).map(([name, side]) =>
    shape("path", { class: name, d: outline(bytesOfBase64(side.peaks)) }));
  const names = Object.keys(sides).join(" and ");
  const picture = shape("svg", {
    viewBox: "0 0 1000 200", preserveAspectRatio: "none", role: "img",
    "aria-label": `Waveform, ${names}: the largest magnitude over ${clock(duration)}`,
  }, ...paths);
  const plot = element("div", { class: "plot" }, picture);
  if (excerpt) {
    const span = element("div", { class: "excerpt", title: "what can be heard" });
    span.style.left = `${(100 * excerpt.start) / duration}%`;
    span.style.width = `${(100 * excerpt.seconds) / duration}%`;
    plot.append(span);
  }
  const keys = Object.keys(sides).map((name) => element("span", { class: `key ${name}` }, name));
  const figure = element("figure", { class: "waveform" },
    element("figcaption", {}, element("span", {}, "Waveform"), element("span", { class: "legend" }, ...(keys.length > 1 ? keys : []))),
    element("div", { class: "axes" }, element("div", { class: "frequencies" }), plot));
  return { figure, plot };
}

function outline(peaks) {
  const x = (i) => ((1000 * i) / Math.max(1, peaks.length)).toFixed(1);
  const edge = (sign) => Array.from(peaks, (peak, i) => {
    const y = (100 - (sign * 100 * peak) / 255).toFixed(1);
    return `${x(i)} ${y}L${x(i + 1)} ${y}`;
  });
  return `M${edge(1).join("L")}L${edge(-1).map((part) => part.split("L").reverse().join("L")).reverse().join("L")}Z`;
}
