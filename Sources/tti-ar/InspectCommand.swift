internal import TTI
internal import TTIFormats

/// `tti-ar inspect`: what a checkpoint holds, and what is wrong with it.
enum InspectCommand: Command {
    static let syntax = CommandSyntax(
        name: "inspect", operands: "DIR|NAME", operandCount: 0...1,
        summary: "What a checkpoint holds: components, parameters, types, bytes, what is unread, what is wrong.",
        options: [
            Option("-m, --checkpoint, --model", "DIR|NAME", "The same as DIR|NAME."),
            Option("--verify", nil, "Look at every number of the weights for ones that are not finite."),
            CommonOptions.variant, CommonOptions.json, CommonOptions.quiet, CommonOptions.help,
        ],
        notes: ["Exit code 78 when something is wrong; everything is listed all the same."])

    static func run(_ arguments: Arguments) throws {
        let values = arguments.values
        guard let name = try arguments.operands.first ?? values.path("checkpoint") else {
            throw usage(
                "argument", "which checkpoint? a folder, or a name: \(shippedCheckpointNames().joined(separator: ", "))"
            )
        }
        let folder = try CheckpointSource.named(name).folder(variant: try values.path("variant"))
        let inspection = Inspection(folder, isVerifying: values.isOn("verify"))
        if values.isOn("json") {
            try Output.json(json(inspection))
        } else {
            try Output.write(Array(text(inspection).utf8))
        }
        let problems = inspection.allProblems
        guard let first = problems.first else { return }
        guard problems.count > 1 else { throw first }
        throw TTIError(first.code, first.name, first.message + " (and \(problems.count - 1) more)")
    }

    private static func json(_ inspection: Inspection) -> JSON {
        [
            "path": JSON(inspection.path), "class": inspection.className.map { JSON($0) } ?? nil,
            "valid": JSON(inspection.allProblems.isEmpty),
            "parameters": JSON(inspection.components.reduce(0) { $0 + $1.parameters }),
            "bytes": JSON(inspection.components.reduce(0) { $0 + $1.bytes }),
            "components": .list(inspection.components.map(json)),
            "problems": .list(inspection.allProblems.map { JSON($0.description) }),
        ]
    }

    private static func json(_ component: Inspection.Component) -> JSON {
        var types = JSONObject()
        for (dtype, count) in component.tensorsOfType { types.set(ByteString(dtype), JSON(count)) }
        return [
            "name": JSON(component.name), "class": JSON(component.className), "parameters": JSON(component.parameters),
            "dtypes": .members(types), "bytes": JSON(component.bytes), "files": .list(component.files.map { JSON($0) }),
            "unread": .list(component.unread.map { JSON($0) }), "remarks": .list(component.remarks.map { JSON($0) }),
            "problems": .list(component.problems.map { JSON($0.description) }),
        ]
    }

    private static func text(_ inspection: Inspection) -> String {
        var text = harmless(inspection.path) + (inspection.className.map { ": " + harmless($0) } ?? "") + "\n"
        for component in inspection.components {
            var row =
                "  " + padRight(harmless(component.name, limit: 30), 14) + "  "
                + padRight(harmless(component.className, limit: 40), 28)
            if component.bytes > 0 {
                row +=
                    padLeft(countText(component.parameters), 9) + " parameters  "
                    + padLeft(byteText(component.bytes), 9)
                let types = component.tensorsOfType.map { "\(harmless($0.dtype, limit: 12)) in \($0.count) tensors" }
                row += "  " + types.joined(separator: ", ")
                if component.files.count > 1 { row += ", \(component.files.count) files" }
            }
            if !component.remarks.isEmpty {
                row += (component.bytes > 0 ? "; " : "  ") + component.remarks.joined(separator: "; ")
            }
            while row.hasSuffix(" ") { row.removeLast() }
            text += row + "\n"
            for name in component.unread.prefix(20) { text += "    unread: \(harmless(name))\n" }
            if component.unread.count > 20 { text += "    and \(component.unread.count - 20) more unread\n" }
        }
        let problems = inspection.allProblems
        for problem in problems { text += "  wrong: \(problem.message)\n" }
        if problems.isEmpty { text += "  nothing wrong\n" }
        return text
    }
}
