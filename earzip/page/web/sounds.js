// The sounds that a blind test can compare, and their levels.

// The original, and what each archive on the page restores that was made from it.
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
