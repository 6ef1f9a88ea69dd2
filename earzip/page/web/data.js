// What the page is about: a summary in JSON, and the columns of the table, compressed.

const summary = JSON.parse(byId("summary").textContent);
let library = []; // the rows, once they are read

async function readRows() {
  const packed = new Blob([bytesOfBase64(byId("rows").textContent)]);
  const text = packed.stream().pipeThrough(new DecompressionStream("deflate"));
  const columns = await new Response(text).json();
  const names = Object.keys(columns);
  const rows = columns.name.map((_, i) => rowOf(columns, names, i));
  nameVersions(rows);
  return rows;
}

// Gives rows of one title, artist and album the model and quality that tell them apart, as `version`.
function nameVersions(rows) {
  const alike = new Map();
  for (const row of rows) {
    const key = JSON.stringify([row.label, row.artist, row.album]);
    if (!alike.has(key)) alike.set(key, []);
    alike.get(key).push(row);
  }
  for (const group of alike.values()) {
    const differ = (name) => group.some((row) => row[name] !== group[0][name]);
    const telling = [...(differ("model") ? ["model"] : []), "quality"];
    if (!telling.some(differ)) continue;
    for (const row of group) row.version = telling.map((name) => row[name]).join(" ");
  }
}

function rowOf(columns, names, i) {
  const row = { index: i };
  for (const name of names) row[name] = columns[name][i];
  row.ratio = row.bytes ? row.source_bytes / row.bytes : null;
  row.label = row.title || row.name.replace(/\.earz$/i, "");
  row.version = "";
  if (row.duration < 1) row.kbps = null; // mostly overhead
  return row;
}

const measures = [
  { key: "si_sdr_db", label: "SI-SDR", unit: "dB", decimals: 1, better: "higher", says: "signal to distortion" },
  { key: "mel", label: "mel", unit: "", decimals: 2, better: "lower", says: "distance of mel spectra" },
  { key: "stft", spare: true, label: "STFT", unit: "", decimals: 2, better: "lower", says: "distance of spectra" },
  { key: "icpc", label: "ICPC", unit: "%", decimals: 1, factor: 100, better: "higher", says: "phase kept in each channel" },
  { key: "ccpc", spare: true, label: "CCPC", unit: "%", decimals: 1, factor: 100, better: "higher", says: "phase kept between channels" },
  { key: "dbtp", spare: true, label: "peak", unit: "dB", decimals: 2, better: "lower", says: "difference of true peaks" },
];

function measureText(measure, row, withUnit = false) {
  const value = row[measure.key];
  if (value === null || value === undefined) return NONE;
  const text = ((measure.factor || 1) * value).toFixed(measure.decimals).replace("-", "−");
  return withUnit && measure.unit ? `${text} ${measure.unit}` : text;
}
