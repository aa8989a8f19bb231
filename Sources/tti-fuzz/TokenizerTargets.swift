/// Readers of tokenizer files; the text room's.
let tokenizerTargets: [FuzzTarget] = []
