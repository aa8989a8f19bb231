import TTICore
import Testing

struct OperandTests {
    @Test func `a convolution's output size follows its geometry`() {
        let same = ConvolutionGeometry(padding: 1).outputSize(height: 5, width: 7, kernelHeight: 3, kernelWidth: 3)
        #expect(same == (5, 7))
        let halved = ConvolutionGeometry(stride: 2, top: 0, left: 0, bottom: 1, right: 1)
            .outputSize(height: 8, width: 6, kernelHeight: 3, kernelWidth: 3)
        #expect(halved == (4, 3))
        let doubled = ConvolutionGeometry(padding: 1, upsampling: 2)
            .outputSize(height: 4, width: 3, kernelHeight: 3, kernelWidth: 3)
        #expect(doubled == (8, 6))
    }

    @Test func `an attention window holds the start token and the neighbourhood`() {
        let window = AttentionWindow(columns: 4, size: 3)
        // Place 9 is row 2, column 1.
        let seen = (0...9).filter { window.sees(query: 9, key: $0) }
        #expect(seen == [0, 4, 5, 6, 8, 9])
        // Place 8 is row 2, column 0: its neighbours do not wrap around.
        #expect((0...8).filter { window.sees(query: 8, key: $0) } == [0, 4, 5, 8])
    }
}
