// The columns of the table. In a narrow window the `wide` ones are left out, in a middling one those that
// are also `spare`; the detail has them.

function columnsOf(rows) {
  const known = measures.filter(({ key }) => rows.some((row) => row[key] !== null));
  const titled = rows.some((row) => row.title);
  return [
    { key: "cover", label: "", fixed: true, cell: coverCell, class: "cover" },
    { key: "label", label: titled ? "Title" : "Archive", cell: null, class: "title" },
    { key: "artist", label: "Artist", cell: (row) => row.artist, class: "text wide" },
    { key: "album", label: "Album", cell: (row) => row.album, class: "text wide" },
    { key: "quality", label: "Quality", class: "text wide spare", cell: (row) => row.quality },
    { key: "duration", label: "Time", number: true, cell: (row) => clock(row.duration) },
    { key: "kbps", label: "kbps", number: true, says: "without pictures", cell: (row) => (row.kbps === null ? NONE : row.kbps.toFixed(1)) },
    { key: "bytes", label: "Size", number: true, says: "of the archive", class: "wide", cell: (row) => size(row.bytes) },
    { key: "ratio", label: "Ratio", number: true, says: "source file to archive, pictures in both", class: "wide spare", cell: (row) => ratio(row.ratio) },
    ...known.map((measure) => ({
      key: measure.key,
      label: measure.unit ? `${measure.label} ${measure.unit}` : measure.label,
      says: `${measure.says}; ${measure.better} is better`,
      number: true,
      class: measure.spare ? "wide spare" : "wide",
      cell: (row) => measureText(measure, row),
    })),
  ].filter(({ key }) => !["artist", "album"].includes(key) || rows.some((row) => row[key]))
    .filter(({ key }) => key !== "cover" || summary.covers.length);
}

function coverCell(row) {
  if (row.cover === null) return null;
  return element("img", {
    src: `data:image/webp;base64,${summary.covers[row.cover]}`,
    alt: `Cover of ${row.album || row.label}`,
    width: 40,
    height: 40,
  });
}

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function comparison(column, direction) {
  const sign = direction === "descending" ? -1 : 1;
  const { key, number } = column;
  const isEmpty = (value) => value === null || value === "";
  return (a, b) => {
    const [x, y] = [a[key], b[key]];
    if (isEmpty(x) || isEmpty(y)) return isEmpty(x) - isEmpty(y) || a.index - b.index; // last, both ways
    return sign * (number ? x - y : collator.compare(x, y)) || a.index - b.index;
  };
}
