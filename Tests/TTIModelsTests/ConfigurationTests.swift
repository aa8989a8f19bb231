import TTICore
import TTIFormats
import TTIModels
import TTITestSupport
import Testing

/// Configurations of published files, and files that nobody should believe.
@Suite struct ConfigurationTests {
    static func fields(_ json: String) throws -> Configuration {
        try Configuration(JSON(Array(json.utf8), file: "config.json"), file: "config.json")
    }

    @Test func `the files of amused-256 and amused-512`() throws {
        let file = """
            {"_class_name": "UVit2DModel", "_diffusers_version": "0.25.0.dev0", "attention_dropout": 0.0,
             "block_num_heads": 12, "block_out_channels": 768, "codebook_size": 8192, "cond_embed_dim": 768,
             "downsample": false, "encoder_hidden_size": 768, "hidden_dropout": 0.0, "hidden_size": 1024,
             "in_channels": 768, "intermediate_size": 2816, "layer_norm_eps": 1e-06, "ln_elementwise_affine": true,
             "micro_cond_embed_dim": 1280, "micro_cond_encode_dim": 256, "num_attention_heads": 16,
             "num_hidden_layers": 22, "num_res_blocks": 3, "sample_size": 16, "upsample": false, "use_bias": false,
             "vocab_size": 8256}
            """
        #expect(try UVit2DConfiguration(Self.fields(file)) == .amused256)
        let large = file.replacing(": false, \"encoder", with: ": true, \"encoder")
            .replacing("\"upsample\": false", with: "\"upsample\": true, \"_name_or_path\": \"x\"")
            .replacing("\"sample_size\": 16", with: "\"sample_size\": 32")
        #expect(try UVit2DConfiguration(Self.fields(large)) == .amused512)
    }

    @Test func `the other files of amused-256`() throws {
        let text = """
            {"architectures": ["CLIPTextModelWithProjection"], "attention_dropout": 0.0, "bos_token_id": 0,
             "eos_token_id": 2, "hidden_act": "quick_gelu", "hidden_size": 768, "intermediate_size": 3072,
             "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model",
             "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 1, "projection_dim": 768,
             "torch_dtype": "float32", "vocab_size": 49408}
            """
        var clip = CLIPTextConfiguration.amused
        clip.endToken = 2
        #expect(try CLIPTextConfiguration(Self.fields(text)) == clip)
        #expect(try CLIPTextConfiguration(Self.fields(text), className: "CLIPTextModel").projectionWidth == nil)
        let vq = """
            {"_class_name": "VQModel", "act_fn": "silu", "block_out_channels": [128, 256, 256, 512, 768],
             "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D",
             "DownEncoderBlock2D", "DownEncoderBlock2D"], "force_upcast": true, "in_channels": 3,
             "latent_channels": 64, "layers_per_block": 2, "lookup_from_codebook": true,
             "mid_block_add_attention": false, "norm_num_groups": 32, "norm_type": "group",
             "num_vq_embeddings": 8192, "out_channels": 3, "sample_size": 32, "scaling_factor": 0.18215,
             "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D",
             "UpDecoderBlock2D"], "vq_embed_dim": null}
            """
        #expect(try VQGANConfiguration(Self.fields(vq)) == .amused)
        #expect(VQGANConfiguration.amused.scale == 16 && VQGANConfiguration.f16.scale == 16)
    }

    @Test(arguments: [
        #"{"hidden_size": 0}"#, #"{"hidden_size": 1000000}"#, #"{"hidden_size": "1024"}"#, #"{"hidden_size": 1024.5}"#,
        #"{"hidden_size": -1024}"#, #"{"hidden_size": 1e3}"#, #"{"num_attention_heads": 15}"#,
        #"{"num_attention_heads": 0}"#, #"{"block_num_heads": 7}"#, #"{"num_hidden_layers": 1025}"#,
        #"{"num_hidden_layers": 99999999999999999999}"#, #"{"num_res_blocks": 5000}"#, #"{"vocab_size": 8191}"#,
        #"{"micro_cond_embed_dim": 1281}"#, #"{"micro_cond_encode_dim": 0}"#, #"{"downsample": true}"#,
        #"{"upsample": true}"#, #"{"downsample": 1}"#, #"{"layer_norm_eps": -1}"#, #"{"layer_norm_eps": 1e400}"#,
        #"{"sample_size": 1000000000}"#, #"{"intermediate_size": []}"#, #"[]"#,
    ])
    func `masked transformers that cannot be`(_ json: String) {
        #expect(throws: FormatError.self) { try UVit2DConfiguration(Self.fields(json)) }
    }

    @Test(arguments: [
        #"{"hidden_act": "mish"}"#, #"{"hidden_size": 513}"#, #"{"num_hidden_layers": 0}"#,
        #"{"max_position_embeddings": 0}"#, #"{"vocab_size": 4000000000}"#,
        #"{"eos_token_id": null, "pad_token_id": "x"}"#,
        #"{"text_config": []}"#, #"{"text_config": {"hidden_size": 3}}"#, #"{"eos_token_id": [2]}"#,
    ])
    func `text encoders that cannot be`(_ json: String) {
        #expect(throws: FormatError.self) { try CLIPTextConfiguration(Self.fields(json)) }
    }

    @Test(arguments: [
        #"{"norm_type": "spatial"}"#, #"{"act_fn": "what"}"#, #"{"norm_num_groups": 31}"#, #"{"norm_num_groups": 0}"#,
        #"{"block_out_channels": []}"#, #"{"block_out_channels": 64}"#, #"{"block_out_channels": [64, 128]}"#,
        #"{"block_out_channels": [64], "down_block_types": ["CrossAttnDownBlock2D"]}"#,
        #"{"block_out_channels": [64], "up_block_types": []}"#, #"{"block_out_channels": [64, 70000]}"#,
        #"{"block_out_channels": [32,32,32,32,32,32,32,32,32,32,32]}"#, #"{"in_channels": 5}"#,
        #"{"vq_embed_dim": 0}"#, #"{"num_vq_embeddings": -1}"#, #"{"layers_per_block": 100000}"#,
    ])
    func `detokenizers that cannot be`(_ json: String) {
        #expect(throws: FormatError.self) { try VQGANConfiguration(Self.fields(json)) }
    }

    @Test(arguments: [
        ("num_heads", "5"), ("num_heads", "0"), ("d_model", "65537"), ("decoder_layers", "0"),
        ("decoder_layers", "1025"),
        ("image_height", "0"), ("image_width", "100000"), ("image_vocab_size", "0"), ("decoder_start_token_id", "12"),
        ("activation_function", "\"silu\""), ("activation_function", "\"swiglu\""), ("conv_attention_window", "4"),
        ("conv_attention_window", "0"), ("conv_attention_window", "\"11\""), ("use_bias", "\"false\""),
        ("layer_norm_eps", "2"), ("max_text_length", "null"), ("vocab_size", "1.5"), ("d_model", "{}"),
    ])
    func `autoregressive models that cannot be`(_ field: String, _ value: String) throws {
        let valid: [(String, String)] = [
            ("vocab_size", "345"), ("image_vocab_size", "1024"), ("max_text_length", "40"), ("image_height", "16"),
            ("image_width", "16"), ("d_model", "192"), ("encoder_layers", "2"), ("decoder_layers", "8"),
            ("encoder_ffn_dim", "768"), ("decoder_ffn_dim", "768"), ("num_heads", "6"),
        ]
        func json(_ fields: [(String, String)]) -> String {
            "{" + fields.map { "\"\($0.0)\": \($0.1)" }.joined(separator: ", ") + "}"
        }
        #expect(try PartiConfiguration(Self.fields(json(valid))).imageLength == 256)
        #expect(throws: FormatError.self) {
            try PartiConfiguration(Self.fields(json(valid.filter { $0.0 != field } + [(field, value)])))
        }
    }

    /// The fields of the shape, and what the file of mini says besides.
    private static let dalleMini = [
        ("encoder_vocab_size", "50264"), ("image_vocab_size", "16384"), ("max_text_length", "64"),
        ("image_length", "256"), ("d_model", "1024"), ("encoder_layers", "12"), ("decoder_layers", "12"),
        ("encoder_ffn_dim", "2730"), ("decoder_ffn_dim", "2730"), ("encoder_attention_heads", "16"),
        ("decoder_attention_heads", "16"), ("decoder_start_token_id", "16384"), ("pad_token_id", "16385"),
        ("model_type", "\"dallebart\""), ("activation_function", "\"gelu\""), ("ln_type", "\"layernorm\""),
        ("ln_positions", "\"normformer\""), ("use_glu", "true"), ("use_bias", "false"), ("force_ln_scale", "false"),
    ]

    private static func dalleBart(_ changes: [(String, String)]) throws -> DalleBartConfiguration {
        let fields = dalleMini.filter { field in !changes.contains { $0.0 == field.0 } } + changes
        let json = "{" + fields.map { "\"\($0.0)\": \($0.1)" }.joined(separator: ", ") + "}"
        return try DalleBartConfiguration(Self.fields(json))
    }

    @Test func `the files of DALL-E mini and mega`() throws {
        #expect(try Self.dalleBart([]) == .mini)
        #expect(try Self.dalleBart([("decoder_start_token_id", "null")]) == .mini)
        let mega = [
            ("encoder_vocab_size", "50272"), ("image_vocab_size", "16415"), ("d_model", "2048"),
            ("encoder_layers", "24"), ("decoder_layers", "24"), ("encoder_ffn_dim", "4096"),
            ("decoder_ffn_dim", "4096"), ("encoder_attention_heads", "32"), ("decoder_attention_heads", "32"),
        ]
        #expect(try Self.dalleBart(mega) == .mega)
    }

    @Test(arguments: [
        ("decoder_attention_heads", "5"), ("encoder_attention_heads", "0"), ("d_model", "65537"),
        ("decoder_layers", "0"), ("image_vocab_size", "0"), ("decoder_start_token_id", "16385"),
        ("decoder_start_token_id", "0"), ("image_length", "null"), ("encoder_vocab_size", "1.5"),
        ("activation_function", "\"silu\""), ("ln_type", "\"rmsnorm\""), ("ln_positions", "\"swinv2\""),
        ("use_glu", "false"), ("use_bias", "true"), ("use_bias", "\"false\""), ("scale_embedding", "true"),
        ("tie_word_embeddings", "true"), ("use_head_scale", "true"), ("use_cosine_attention", "true"),
        ("use_final_ln_decoder", "false"), ("use_alibi", "true"),
    ])
    func `DALL-E minis that cannot be`(_ field: String, _ value: String) {
        #expect(throws: FormatError.self) { try Self.dalleBart([(field, value)]) }
    }

    @Test func `a configuration larger than the weights allocates nothing`() throws {
        let fixture = try ModelFixture("models/parti")
        var c = try PartiConfiguration(fixture.configuration)
        (c.width, c.decoderMLPWidth, c.headCount) = (65536, 1_048_576, 1)
        #expect(throws: ModelError.self) {
            try Parti(fixture.weights, c, on: ReferenceBackend(arenaBytes: 4096))
        }
    }
}
