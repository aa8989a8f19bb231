internal import Glibc
internal import TTI

reserveStandardStreams()
Interrupts.install()
do {
    try start(try processArguments())
} catch {
    let error = TTIError(translating: error)
    if !error.isClosedOutput { Diagnostics.error(error) }
    exit(error.code.rawValue)
}
exit(0)
