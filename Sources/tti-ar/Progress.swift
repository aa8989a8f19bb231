internal import Glibc
internal import TTI
internal import TTIFormats

/// Shows how far the work is, on standard error: a bar with rate and time left on a terminal, a line per stage where
/// there is none, nothing when quiet. No colours and no cursor movement but the carriage return.
struct Progress {
    private enum Form { case bar, lines, silent }

    private let form: Form
    private let clock = ContinuousClock()
    private var stageStart: ContinuousClock.Instant
    private var lastDrawn: ContinuousClock.Instant?
    private var stage = ""
    private var shownWidth = 0

    init(isQuiet: Bool) {
        form = isQuiet ? .silent : isTerminal(STDERR_FILENO) ? .bar : .lines
        stageStart = clock.now
    }

    /// Something has begun that may take a while: "loading scenes-masked".
    mutating func begin(_ stage: String) {
        self.stage = stage
        stageStart = clock.now
        lastDrawn = nil
        if form == .bar { draw(stage + " …") }
    }

    /// So many steps of so many are done.
    mutating func step(_ done: Int, of total: Int, unit: String = "step") {
        guard form == .bar, total > 0 else { return }
        let now = clock.now
        if let lastDrawn, done < total, now - lastDrawn < .milliseconds(50) { return }
        lastDrawn = now
        let seconds = (now - stageStart).seconds
        let width = 24
        let filled = min(width, done * width / total)
        var bar = "[" + String(repeating: "=", count: filled)
        if filled < width { bar += ">" + String(repeating: " ", count: width - filled - 1) }
        var line = "\(stage) \(bar)] \(done)/\(total)"
        if seconds > 0, done > 0 {
            let rate = Double(done) / seconds
            line += rate >= 1 ? "  \(decimals(rate, 1)) \(unit)/s" : "  \(decimals(1 / rate, 1)) s/\(unit)"
            if done < total { line += "  \(durationText(seconds: Double(total - done) / rate)) left" }
        }
        draw(line)
    }

    /// The stage is over: what a log should keep of it.
    mutating func end(_ summary: String) {
        let text = "\(summary) in \(durationText(seconds: (clock.now - stageStart).seconds))"
        switch form {
        case .silent: return
        case .bar:
            draw(text)
            Diagnostics.text("\n")
            shownWidth = 0
        case .lines: Diagnostics.line("tti-ar: " + text)
        }
    }

    /// Something worth a line that is not a warning.
    mutating func note(_ text: String) {
        guard form != .silent else { return }
        clear()
        Diagnostics.line("tti-ar: " + text)
    }

    /// A warning, shown also when quiet.
    mutating func warning(_ text: String) {
        clear()
        Diagnostics.warning(text)
    }

    /// Takes an unfinished bar away, so that another line can be printed.
    mutating func clear() {
        guard shownWidth > 0 else { return }
        Diagnostics.text("\r" + String(repeating: " ", count: shownWidth) + "\r")
        shownWidth = 0
    }

    private mutating func draw(_ line: String) {
        let text = String(line.prefix(terminalWidth() - 1))
        Diagnostics.text("\r" + padRight(text, shownWidth))
        shownWidth = text.count
    }

    private func terminalWidth() -> Int {
        var size = winsize()
        guard unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col >= 20 else { return 80 }
        return Int(size.ws_col)
    }
}
