// The head of the page: totals, how rates are spread, and what could not be read.

const MOST_NAMED = 4;

function showOverview() {
  const totals = summary.totals;
  byId("made").textContent = summary.made;
  byId("headline").textContent = totals.n_tracks
    ? `${counted(totals.n_tracks, "track")}, ${playingTime(totals.duration_s)} of sound, in ${size(totals.archive_bytes)}`
    : "No track could be read";
  if (!totals.n_tracks) return;
  byId("overview").append(
    sizeBar(totals),
    element("div", { class: "figures" }, figureList(totals), rateHistogram(totals)),
  );
}

function sizeBar(totals) {
  const share = Math.min(1, totals.archive_bytes / Math.max(1, totals.source_bytes));
  const label =
    `Archives take ${size(totals.archive_bytes)}, the source files ${size(totals.source_bytes)}: ` +
    `${significant(100 * share)} %`;
  const bar = shape("svg", { class: "size-bar", viewBox: "0 0 1000 8", preserveAspectRatio: "none", role: "img", "aria-label": label },
    shape("rect", { class: "whole", width: 1000, height: 8 }),
    shape("rect", { class: "part", width: Math.max(1, 1000 * share), height: 8 }),
  );
  return element("div", { class: "sizes" }, bar, element("p", {}, label));
}

function figureList(totals) {
  const pictures = totals.archive_bytes - totals.bare_bytes;
  const figures = [
    ["Source files", size(totals.source_bytes), inWords(totals.sources)],
    ["Archives", size(totals.archive_bytes), [
      pictures ? `${size(totals.bare_bytes)} without pictures` : "no pictures in them",
      ...(totals.exact_bytes ? [`${size(totals.exact_bytes)} of exact copies`] : []),
    ].join("; ")],
    ["Smaller than the sources", ratio(totals.source_ratio), "pictures in both"],
    ["Smaller than WAV", ratio(totals.wav_ratio), "16 bit, 44.1 kHz, stereo; pictures in neither"],
    ["Mean rate", totals.kbps === null ? NONE : `${totals.kbps.toFixed(1)} kbps`, "without pictures"],
    ["Median track", clock(totals.median_s), `${clock(totals.shortest_s)} to ${clock(totals.longest_s)}`],
    ["Playing time", playingTime(totals.duration_s), counted(totals.n_tracks, "track")],
    ["Model and quality", ...modelsAndQualities(totals.qualities)],
  ];
  return element("dl", { class: "totals" }, ...figures.map(([term, value, remark]) =>
    element("div", {}, element("dt", {}, term), element("dd", {}, value, element("span", { class: "remark" }, remark)))));
}

function modelsAndQualities(counts) {
  if (counts.length === 1) return [counts[0][0], "all tracks"];
  const numbers = counts.slice(0, MOST_NAMED).map(([, n]) => grouped(n));
  const others = counts.slice(MOST_NAMED).reduce((sum, [, n]) => sum + n, 0);
  if (others) numbers.push(grouped(others));
  return [firstOf(counts.map(([name]) => name)), `tracks: ${numbers.join(", ")}`];
}

function inWords(counts) {
  if (counts.length === 1) return counts[0][0];
  return firstOf(counts.map(([name, n]) => `${name} ${grouped(n)}`));
}

function firstOf(texts) {
  const shown = texts.slice(0, MOST_NAMED);
  if (texts.length > MOST_NAMED) shown.push(`${texts.length - MOST_NAMED} more`);
  return shown.join(", ");
}

function rateHistogram(totals) {
  const bins = totals.histogram;
  if (!bins) return null;
  const most = Math.max(...bins.counts);
  const [width, height] = [24 * bins.counts.length, 96];
  const from = (i) => String(Number((bins.first + i * bins.step).toPrecision(6)));
  const bars = bins.counts.map((n, i) => {
    const tall = n ? Math.max(2, (height * n) / most) : 0;
    const open = bins.open_end && i === bins.counts.length - 1;
    const range = open ? `${from(i)} kbps and more` : `${from(i)} to ${from(i + 1)} kbps`;
    return shape("rect", { x: 24 * i + 1, y: height - tall, width: 22, height: tall },
      shape("title", {}, `${range}: ${counted(n, "track")}`));
  });
  const last = bins.counts.length;
  const label = `Rates without pictures: ${from(0)} to ${from(last)} kbps in steps of ${bins.step}, ` +
    `at most ${counted(most, "track")} in one`;
  return element("figure", { class: "histogram" },
    element("figcaption", {}, "Rates, kbps"),
    shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, ...bars),
    element("p", { class: "scale", "aria-hidden": "true" },
      element("span", {}, from(0)), element("span", {}, `at most ${counted(most, "track")} in a bar`),
      element("span", {}, bins.open_end ? `${from(last - 1)} and more` : from(last))),
  );
}

function showProblems(rows) {
  const troubled = rows.filter((row) => row.problem);
  const n = summary.n_problems + troubled.length;
  if (!n) return;
  const problems = [...summary.problems, ...troubled.map((row) => ({ path: row.name, message: row.problem }))]
    .slice(0, summary.most_problems);
  byId("problems").hidden = false;
  byId("problems-title").textContent = `${counted(n, "archive")} with problems`;
  byId("problem-list").append(...problems.map(({ path, message }) =>
    element("li", {}, element("span", { class: "path" }, path), " ", element("span", {}, message))));
  if (n > problems.length) {
    byId("problem-list").append(element("li", {}, `and ${grouped(n - problems.length)} more: see the command's own output`));
  }
}

function showCoverage() {
  const { n_views: shown, totals } = summary;
  const said = [];
  if (shown < totals.n_tracks) {
    said.push(shown
      ? `Pictures of the sound of ${grouped(shown)} of ${counted(totals.n_tracks, "track")} fit into this page: ` +
        "those with the lowest SI-SDR first where archives hold measures, then from the first on."
      : "No track has pictures of its sound.");
    said.push("For those of another track, report on its archive alone: earzip report TRACK.earz -o track.html.");
  }
  if (summary.with_audio && summary.n_with_audio < shown) {
    said.push(`${counted(summary.n_with_audio, "track")} can be heard; the others' excerpts did not fit.`);
  }
  if (summary.detail !== "ALL_TAGS") {
    said.push(summary.detail === "MAIN_TAGS"
      ? "With this many tracks the page has the main tags only; earzip info shows all."
      : "With this many tracks the page has title, artist and album only; earzip info shows all tags.");
  }
  byId("coverage").textContent = said.join(" ");
}
