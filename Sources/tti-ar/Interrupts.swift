internal import Glibc
internal import Synchronization
internal import TTI
internal import TTIFormats

/// What ctrl-c, SIGTERM and SIGHUP do. The first one asks the work to stop at the next opportunity; where there is none
/// (loading, one forward pass), and at the second one, temporary files are unlinked and the process ends at once.
enum Interrupts {
    /// The signal that came first; 0: none.
    fileprivate static let first = Atomic<Int32>(0)
    /// Whether somebody looks at `isRequested` between operations.
    fileprivate static let isPolled = Atomic<Bool>(false)
    /// The exit code of a process that is ended by a signal.
    fileprivate static let exitCode = Atomic<Int32>(TTIError.Code.cancelled.rawValue)

    /// Whether the work should stop.
    static var isRequested: Bool { first.load(ordering: .relaxed) != 0 }

    /// Installs the handlers; a write to a closed pipe, or beyond the limit of a file's size, becomes an error instead of a signal.
    static func install() {
        // The first access makes them, which a handler must not do.
        TemporaryFiles.prepare()
        // Weights are mapped: a file that another process makes shorter is an error of its own.
        MappingGuard.install()
        _ = (first.load(ordering: .relaxed), isPolled.load(ordering: .relaxed), exitCode.load(ordering: .relaxed))
        for number in [SIGINT, SIGTERM, SIGHUP] {
            var action = sigaction()
            unsafe action.__sigaction_handler.sa_handler = interrupted
            // nohup's wish is kept.
            var before = sigaction()
            if unsafe sigaction(number, nil, &before) == 0, isIgnored(before) { continue }
            unsafe sigaction(number, &action, nil)
        }
        var ignore = sigaction()
        unsafe ignore.__sigaction_handler.sa_handler = SIG_IGN
        for number in [SIGPIPE, SIGXFSZ] { unsafe sigaction(number, &ignore, nil) }
        if environmentVariable("TTI_AR_TRACE") == nil { installFaultHandlers() }
    }

    /// A fault of ours, or a mapped file that another process made shorter, ends in one line too. With `TTI_AR_TRACE` set,
    /// the system does what it does.
    private static func installFaultHandlers() {
        // A stack that has run over cannot run the handler.
        let size = 64 * 1024
        var stack = unsafe stack_t(ss_sp: malloc(size), ss_flags: 0, ss_size: size)
        unsafe sigaltstack(&stack, nil)
        for number in [SIGILL, SIGTRAP, SIGABRT, SIGSEGV, SIGFPE, SIGBUS] {
            var action = sigaction()
            unsafe action.__sigaction_handler.sa_handler = faulted
            action.sa_flags = Int32(SA_ONSTACK)
            unsafe sigaction(number, &action, nil)
        }
    }

    /// Runs work that looks at `isRequested` between its operations.
    static func polled<Result, Failure: Error>(_ work: () throws(Failure) -> Result) throws(Failure) -> Result {
        isPolled.store(true, ordering: .sequentiallyConsistent)
        defer { isPolled.store(false, ordering: .sequentiallyConsistent) }
        return try work()
    }

    /// From now on the same command can finish what an interrupt leaves.
    static func becomeResumable() { exitCode.store(TTIError.Code.stoppedEarly.rawValue, ordering: .relaxed) }

    /// Throws when the work should stop.
    static func check() throws(TTIError) { if isRequested { throw error() } }

    /// What an interrupted command ends with.
    static func error(done: String? = nil) -> TTIError {
        let number = first.load(ordering: .relaxed)
        let cause = number == SIGINT ? "by ctrl-c" : number == SIGHUP ? "by a hang-up" : "by SIGTERM"
        let code = TTIError.Code(rawValue: exitCode.load(ordering: .relaxed)) ?? .cancelled
        let remedy = code == .stoppedEarly ? "; the same command makes the rest" : ""
        return TTIError(
            code, "cancelled", "stopped \(number == 0 ? "" : cause)\(done.map { ", " + $0 } ?? "")\(remedy)")
    }
}

private func isIgnored(_ action: sigaction) -> Bool {
    let ignore = unsafe unsafeBitCast(SIG_IGN, to: Int.self)
    return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == ignore
}

/// Only what may be done inside a signal handler: atomics, write, unlink, _exit.
private func interrupted(_ number: Int32) {
    let before = Interrupts.first.compareExchange(expected: 0, desired: number, ordering: .sequentiallyConsistent)
    if before.exchanged, Interrupts.isPolled.load(ordering: .sequentiallyConsistent) { return }
    TemporaryFiles.unlinkAll()
    let text: StaticString = "tti-ar: error[cancelled]: stopped by a signal; nothing half-written is left\n"
    _ = unsafe write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
    _exit(Interrupts.exitCode.load(ordering: .relaxed))
}

/// As `interrupted`: only what may be done inside a signal handler.
private func faulted(_ number: Int32) {
    TemporaryFiles.unlinkAll()
    let changed: StaticString =
        "tti-ar: error[io.changed]: a file became shorter, or could not be read, while it was in use\n"
    let bug: StaticString =
        "tti-ar: error[internal]: this is a fault of tti-ar; please report it with the command and what 'TTI_AR_TRACE=1' shows\n"
    let text = number == SIGBUS ? changed : bug
    _ = unsafe write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
    _exit(number == SIGBUS ? TTIError.Code.inputOutput.rawValue : TTIError.Code.internalFault.rawValue)
}
