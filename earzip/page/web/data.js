// What the page is about: a summary in JSON, and the columns of the table, compressed.

const summary = JSON.parse(byId("summary").textContent);
let library = []; // the rows, once they are read

async function readRows() {
  const packed = new Blob([bytesOfBase64(byId("rows").textContent)]);
  const text = packed.stream().pipeThrough(new DecompressionStream("deflate"));
  const columns = await new Response(text).json();
  const names = Object.keys(columns);
  return columns.name.map((_, i) => rowOf(columns, names, i));
}

function rowOf(columns, names, i) {
  const row = { index: i };
  for (const name of names) row[name] = columns[name][i];
  row.ratio = row.bytes ? row.source_bytes / row.bytes : null;
  row.label = row.title || row.name.replace(/\.earz$/i, "");
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
