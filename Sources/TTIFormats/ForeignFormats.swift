/// An error for a file that is plainly something else than safetensors; nil when it is not one of those that people meet.
///
/// Only asked about files whose length of the header cannot be right: any beginning can be a valid length.
///
/// - Parameter name: the file's name in quotes.
func foreignFormat(_ file: UnsafeRawBufferPointer, _ name: String) -> FormatError? {
    func starts(_ text: String) -> Bool { unsafe file.starts(with: text.utf8) }
    func starts(_ bytes: [UInt8]) -> Bool { unsafe file.starts(with: bytes) }
    if starts("version https://git-lfs") {
        return FormatError(
            .invalid, "model.lfs-pointer", "\(name) is a \(file.count)-byte Git LFS pointer, not the weights",
            try: "run 'git lfs pull' or 'hf download'")
    }
    if starts([0x50, 0x4b, 0x03, 0x04]) {
        return pickleError("\(name) is a PyTorch archive (pickle), which can run code when it is read", name)
    }
    if file.count >= 2, unsafe file[0] == 0x80, unsafe (2...5).contains(file[1]) {
        return pickleError("\(name) is a pickle, which can run code when it is read", name)
    }
    let others: [(String, String)] = [
        ("<!DOCTYPE", "a web page"), ("<!doctype", "a web page"), ("<html", "a web page"), ("<HTML", "a web page"),
        ("<?xml", "an XML page"), ("GGUF", "a GGUF file"), ("\u{89}HDF", "an HDF5 file"), ("{\"", "JSON text"),
    ]
    for (beginning, kind) in others where starts(beginning) {
        return FormatError(
            .invalid, "model.format", "\(name) is \(kind), not a safetensors file", try: "download it again")
    }
    if starts([0x1f, 0x8b]) || starts([0x28, 0xb5, 0x2f, 0xfd]) {
        return FormatError(
            .invalid, "model.format", "\(name) is compressed, not a safetensors file", try: "unpack it first")
    }
    return nil
}

/// A refusal of a pickle with the command that converts it.
///
/// - Parameter file: its name in quotes, safe to print.
func pickleError(_ what: String, _ file: String) -> FormatError {
    let target = "model.safetensors"
    let program =
        "import sys, torch; from safetensors.torch import save_file; d = torch.load(sys.argv[1], map_location='cpu',"
        + " weights_only=True); d = d.get('state_dict', d); save_file({k: v.clone().contiguous() for k, v in d.items()},"
        + " sys.argv[2])"
    return FormatError(
        .invalid, "model.pickle", what, try: "convert it with: python3 -c \"\(program)\" \(file) \(target)")
}

/// The command that makes a diffusers folder of a checkpoint that is one file.
///
/// - Parameter file: its name in quotes, safe to print.
func singleFileConversion(_ file: String) -> String {
    "python3 -c \"import sys; from diffusers import StableDiffusionPipeline as P;"
        + " P.from_single_file(sys.argv[1]).save_pretrained(sys.argv[2])\" \(file) FOLDER"
        + " (StableDiffusionXLPipeline for an XL checkpoint)"
}
