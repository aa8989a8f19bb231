// swift-tools-version: 6.2
import PackageDescription

// The plan of the house. Imports go down a column, to TTICore, and from TTI to everything:
//
//             models                            devices
// floor 4     tti-ar                            tti-bench
// floor 3     TTI ............................. the only room that sees both, the only public one
// floor 2     TTIGeneration                     TTICPU            TTICUDA          TTIAccounting
// floor 1     TTIModels   TTIText               CTTIKernels       CTTICUDA
//             TTIFormats                        COpenBLAS (the yardstick of tti-bench)    CPNG (used by TTIFormats)
// floor 0     TTICore ......................... tensors, memory, random numbers, the Backend protocol

let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// A Swift module of the house and the rooms that it may import.
func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

/// Scripts/tti-ar and Scripts/test say which commit they build; a plain `swift build` is a development build.
let commit = Context.environment["TTI_AR_COMMIT"] ?? "development"

/// The tests of one room.
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: name, dependencies: dependencies,
        swiftSettings: [.treatAllWarnings(as: .error), .enableUpcomingFeature("ExistentialAny")])
}

let package = Package(
    name: "tti-ar",
    products: [
        .library(name: "TTI", targets: ["TTI"]),
        .executable(name: "tti-ar", targets: ["tti-ar"]),
    ],
    targets: [
        // Devices, in C.
        .target(name: "CTTIKernels"),
        .target(name: "CTTICUDA", exclude: ["Kernels"]),
        .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
        .target(name: "CTTIVersion", cSettings: [.define("TTI_AR_COMMIT", to: "\"\(commit)\"")]),
        // The house.
        room("TTICore"),
        room("TTIFormats", ["TTICore", "CPNG"]),
        room("TTIText", ["TTICore", "TTIFormats"]),
        room("TTIModels", ["TTICore", "TTIFormats"]),
        room("TTIGeneration", ["TTICore", "TTIFormats", "TTIText", "TTIModels"]),
        room("TTICPU", ["TTICore", "CTTIKernels"]),
        room("TTICUDA", ["TTICore", "CTTICUDA"]),
        room("TTIAccounting", ["TTICore"]),
        room(
            "TTI",
            ["TTICore", "TTIFormats", "TTIText", "TTIModels", "TTIGeneration", "TTICPU", "TTICUDA", "TTIAccounting"]),
        .executableTarget(
            name: "tti-ar", dependencies: ["TTI", "TTIAccounting", "TTICUDA", "TTICore", "TTIFormats", "CTTIVersion"],
            swiftSettings: strict),
        .executableTarget(name: "tti-example", dependencies: ["TTI"], swiftSettings: strict),
        // Kernels one by one, and what the tests share.
        .target(
            name: "TTITestSupport", dependencies: ["TTICore", "TTIFormats", "TTIAccounting"],
            path: "Tests/TTITestSupport", swiftSettings: strict),
        .target(
            name: "CTTIAlternatives", dependencies: ["CTTIKernels"],
            cSettings: [.headerSearchPath("../CTTIKernels"), .headerSearchPath("../CTTIKernels/include")]
        ),
        .executableTarget(
            name: "tti-bench",
            dependencies: [
                "CTTIAlternatives", "TTICore", "TTIFormats", "TTICPU", "TTIAccounting", "TTITestSupport", "CTTIVersion",
                "COpenBLAS",
            ], swiftSettings: strict),
        .executableTarget(
            name: "tti-check",
            dependencies: [
                "TTI", "TTICore", "TTIFormats", "TTIGeneration", "TTICPU", "TTICUDA", "TTIAccounting", "TTITestSupport",
            ], swiftSettings: strict),
        .executableTarget(
            name: "tti-fuzz", dependencies: ["TTICore", "TTIFormats", "TTIText"], swiftSettings: strict),
        tests("TTICoreTests", ["TTICore"]),
        tests("TTIFormatsTests", ["TTICore", "TTIFormats", "TTITestSupport"]),
        tests("TTITextTests", ["TTIFormats", "TTIText", "TTITestSupport"]),
        tests("TTIBackendTests", ["TTICore", "TTICPU", "TTIAccounting", "TTITestSupport"]),
        tests("TTIModelsTests", ["TTICore", "TTIFormats", "TTIModels", "TTICPU", "TTIAccounting", "TTITestSupport"]),
        .target(name: "CTestAllocations", path: "Tests/CTestAllocations"),
        tests(
            "TTIGenerationTests",
            [
                "TTICore", "TTIFormats", "TTIText", "TTIModels", "TTIGeneration", "TTICPU", "TTITestSupport",
                "CTestAllocations",
            ]),
        tests("TTITests", ["TTI", "TTICore", "TTIFormats", "TTITestSupport", "tti-ar", "tti-check"]),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .c2x
)
