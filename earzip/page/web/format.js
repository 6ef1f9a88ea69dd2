// Numbers as people read them; the same units and roundings as on the command line.

const NONE = "–";

function clock(seconds, decimals = 0) {
  const unit = 10 ** decimals;
  const total = Math.round(seconds * unit);
  const s = ((total % (60 * unit)) / unit).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  const minutes = Math.floor(total / (60 * unit));
  if (minutes < 60) return `${minutes}:${s}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${s}`;
}

function playingTime(seconds) {
  const minutes = Math.round(seconds / 60);
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (minutes < 60) return clock(seconds);
  return `${grouped(Math.floor(minutes / 60))} h ${minutes % 60} min`;
}

function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  for (const unit of ["kB", "MB", "GB"]) {
    bytes /= 1000;
    if (bytes < 999.5) return `${significant(bytes)} ${unit}`;
  }
  return `${significant(bytes / 1000)} TB`;
}

function significant(value, digits = 3) {
  if (value === 0) return "0";
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(decimals, 6));
}

const grouped = (count) => count.toLocaleString("en-GB");

const counted = (count, noun) => `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;

const ratio = (value) => (value === null ? NONE : `${significant(value)} ×`);

const decibels = (value) => `${value < 0 ? "−" : value > 0 ? "+" : ""}${Math.abs(value).toFixed(0)} dB`;
