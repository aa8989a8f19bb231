import TTIFormats
import Testing

@Suite struct NumberTextTests {
    @Test(
        arguments: [
            (2.345, 1, "2.3"), (2.35, 1, "2.4"), (-2.35, 1, "-2.4"), (0.05, 1, "0.1"), (0.04, 1, "0.0"),
            (-0.04, 1, "0.0"),
            (1234.5, 0, "1235"), (0.001, 3, "0.001"), (12, 2, "12.00"), (.infinity, 1, "inf"), (-.infinity, 1, "-inf"),
            (.nan, 1, "nan"), (1e300, 2, "1e+300"), (0.999, 2, "1.00"),
        ] as [(Double, Int, String)])
    func `decimals are fixed`(value: Double, places: Int, text: String) { #expect(decimals(value, places) == text) }

    @Test(arguments: [
        (0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (1_048_575, "1.0 MiB"),
        (10_093_173_146, "9.4 GiB"),
        (Int.max, "8.0 EiB"), (-2048, "-2.0 KiB"), (Int.min, "-8.0 EiB"),
    ])
    func `bytes have binary units`(count: Int, text: String) { #expect(byteText(count) == text) }

    @Test(arguments: [
        (0, "0"), (999, "999"), (1000, "1.0 k"), (350_600_000, "350.6 M"), (3_000_000_000, "3.0 G"), (-5, "-5"),
    ])
    func `counts have decimal units`(count: Int, text: String) { #expect(countText(count) == text) }

    @Test(
        arguments: [
            (0.00085, "850 µs"), (0.0123, "12.3 ms"), (0.123, "123 ms"), (4.557, "4.56 s"), (12.34, "12.3 s"),
            (125, "2 min 5 s"),
            (3725, "1 h 2 min"), (.infinity, "inf s"), (1e12, "1000000000000 s"), (0, "0 µs"), (0.9999, "1.00 s"),
            (59.99, "1 min 0 s"),
        ] as [(Double, String)])
    func `times have fitting units`(seconds: Double, text: String) { #expect(durationText(seconds: seconds) == text) }
}
