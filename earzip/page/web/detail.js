// A track's detail, under its row: pictures, player, measures, tags, and where it comes from.

let current = null; // what the open detail has that themes and keys reach

function showDetail(row, cell) {
  const pictures = element("div", { class: "pictures" });
  cell.append(element("section", { class: "sheet", "aria-label": `Detail of ${row.label}` },
    row.problem ? element("p", { class: "warning" }, row.problem) : null,
    ...row.notes.map((note) => element("p", { class: "note" }, note)),
    pictures, factsOf(row)));
  current = { row, pictures: [], player: null, blind: null };
  if (row.view === null) pictures.append(element("p", { class: "remark" }, whyNoPictures(row)));
  else showView(row, pictures);
  const shown = current;
  return () => {
    shown.player?.close();
    shown.blind?.close();
    if (current === shown) current = null;
  };
}

function whyNoPictures(row) {
  if (row.duration === 0) return "This track has no samples.";
  if (row.undecoded) return "Its sound could not be decoded for pictures.";
  return "No pictures of this track: they did not fit into this page. A report on its archive alone has them.";
}

const viewOf = (row) => JSON.parse(byId(`view-${row.view}`).textContent);

const excerptOf = (side) => side?.audio && byId(side.audio); // not all fit

function showView(row, place) {
  const { sides, difference, excerpt_start: start } = viewOf(row);
  const names = Object.keys(sides);
  const audio = Object.fromEntries(names.map((name) => [name, excerptOf(sides[name])]).filter(([, node]) => node));
  const canPlay = Object.keys(audio).length > 0;
  const excerpt = canPlay ? { start, seconds: Math.min(20, row.duration) } : null;
  const cursors = [];
  if (canPlay) {
    const follow = (seconds) => cursors.forEach((cursor) => {
      cursor.hidden = false;
      cursor.style.left = `${(100 * seconds) / row.duration}%`;
    });
    current.player = new Player(audio, start, excerpt.seconds, follow);
    place.append(current.player.node, offerOfBlindTest(row, start));
  } else {
    place.append(element("p", { class: "remark" }, ...howToHear()));
  }
  const readout = element("p", { class: "readout", "aria-hidden": "true" }, READOUT_HINT);
  const titles = { original: "Original", restored: "Restored" };
  for (const name of names) {
    const description = `Spectrogram, ${name}: level over ${clock(row.duration)} and 0 to 22 kHz`;
    current.pictures.push(new LevelPicture(sides[name].spectrogram, "levels", titles[name], description, row.duration));
  }
  if (difference) {
    const description = `Restored less original: difference of levels over ${clock(row.duration)} and 0 to 22 kHz`;
    current.pictures.push(new LevelPicture(difference, "difference", "Restored less original", description, row.duration));
  }
  const wave = waveform(sides, row.duration, excerpt);
  const waveCursor = element("div", { class: "cursor", hidden: true });
  wave.plot.append(waveCursor);
  cursors.push(...current.pictures.map((picture) => picture.cursor), waveCursor);
  place.append(...current.pictures.map((picture) => picture.figure), wave.figure,
    element("div", { class: "axes" }, element("div", { class: "frequencies" }), timeAxis(row.duration, place.clientWidth < 560 ? 4 : 8)), readout);
  for (const picture of current.pictures) picture.ready.then(() => picture.paint());
  for (const plot of [...current.pictures.map((picture) => picture.plot), wave.plot]) watch(plot, row, readout, start);
  if (canPlay) current.player.show();
}

function offerOfBlindTest(row, start) {
  const sounds = soundsToCompare(row, library);
  if (sounds.length < 2) {
    return element("p", { class: "remark" }, "A blind test needs a second sound: the original, which ", code("--originals DIR"),
      " gives, or an archive of another quality, made from the same source, on this page.");
  }
  const { player } = current;
  const blind = new BlindTest(row, sounds, start);
  current.blind = blind;
  const open = () => {
    player.hush();
    blind.open();
  };
  return element("p", { class: "offer" }, element("button", { type: "button", onclick: open }, "Blind test (ABX) …"),
    element("span", { class: "remark" }, "Do you hear the difference? Find out without knowing which is which."));
}

const READOUT_HINT = "Point at a picture to read its levels.";

function howToHear() {
  if (summary.with_audio) return ["Its excerpt did not fit into this page; a report on its archive alone has it."];
  return ["To hear it here, make the page with ", code("--audio"), ", which embeds 20 s from the middle of each track."];
}

function watch(plot, row, readout, start) {
  const placeOf = (event) => {
    const box = plot.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
      .map((part) => Math.min(0.9999, Math.max(0, part)));
  };
  plot.addEventListener("pointermove", (event) => {
    const [x, y] = placeOf(event);
    const words = [clock(x * row.duration, 1)];
    const pictures = current.pictures.filter((picture) => picture.grey);
    if (plot.querySelector("canvas") && pictures.length) {
      words.push(`${significant(hzAt(1 - y) / 1000, 2)} kHz`);
      const names = pictures.map((picture) => picture.figure.querySelector("figcaption span").textContent.toLowerCase());
      pictures.forEach((picture, i) => words.push(`${names[i]} ${decibels(picture.decibelsAt(x, y))}`));
    }
    readout.textContent = words.join(" · ");
  });
  plot.addEventListener("pointerleave", () => { readout.textContent = READOUT_HINT; });
  plot.addEventListener("click", (event) => {
    const player = current.player;
    if (player) player.seek(placeOf(event)[0] * row.duration - start);
  });
}

function factsOf(row) {
  const blocks = [];
  const known = measures.filter(({ key }) => row[key] !== null);
  if (known.length) {
    blocks.push(block("Measures (↑ higher is better, ↓ lower)", known.map((measure) =>
      [measure.label, measureText(measure, row, true), `${measure.better === "higher" ? "↑" : "↓"} ${measure.says}`])));
  } else {
    blocks.push(element("p", { class: "remark" }, ...whyNoMeasures(row)));
  }
  blocks.push(block("Archive", archiveFacts(row)));
  if (row.source) blocks.push(block("Source", sourceFacts(row)));
  const tags = Object.entries(row.tags || {}).map(([name, values]) => [name, values.join("\n")]);
  if (tags.length) blocks.push(block("Tags", tags));
  return element("div", { class: "facts" }, ...blocks);
}

function whyNoMeasures(row) {
  if (!summary.with_originals) return ["No measures: they compare with the original, which ", code("--originals DIR"), " gives."];
  if (row.view === null) return ["No measures: only tracks with pictures were compared with their originals."];
  if (row.notes.length) return ["No measures: the original could not be compared."];
  return ["No measures: they are not defined for digital silence or a few samples."];
}

const code = (text) => element("code", {}, text);

function block(title, facts) {
  const list = element("dl");
  for (const [term, value, remark] of facts.filter(([, each]) => each)) { // more than a call has arguments
    list.append(element("dt", {}, term),
      element("dd", {}, value, remark ? element("span", { class: "remark" }, remark) : ""));
  }
  return element("section", {}, element("h3", {}, title), list);
}

function archiveFacts(row) {
  const bare = row.bytes - row.picture_bytes;
  return [
    ["file", row.name],
    ["time", clock(row.duration, 2)],
    ["size", row.picture_bytes ? `${size(row.bytes)}, ${size(bare)} without pictures` : size(row.bytes)],
    ["exact copy", row.exact_bytes ? `${size(row.exact_bytes)}: restore gives that; measures and pictures are of the coded sound` : ""],
    ["rate", row.kbps === null ? "" : `${row.kbps.toFixed(2)} kbps without pictures`],
    ["model", [row.model, row.model_sha256?.slice(0, 16)].filter(Boolean).join(" ")],
    ["quality", row.quality],
    ["encoder", row.encoder],
    ["gain", row.gain_db ? `${row.gain_db.toFixed(1).replace("-", "−")} dB before coding` : ""],
  ];
}

function sourceFacts(row) {
  const source = row.source;
  return [
    ["file", source.name],
    ["format", `${[...new Set([source.container, source.codec])].join(" ")}, ${source.lossless ? "lossless" : "lossy"}`],
    ["sound", `${grouped(source.sample_rate)} Hz, ${counted(source.channels, "channel")}${source.bit_depth ? `, ${source.bit_depth} bit` : ""}`],
    ["size", `${size(row.source_bytes)}, ${ratio(row.ratio)} the archive`],
    ["mixed", source.channels === 2 ? "" : source.downmix],
    ["cut short", source.truncated],
    ["SHA-256", source.sha256],
  ];
}
