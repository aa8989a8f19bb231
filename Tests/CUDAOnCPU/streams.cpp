// Streams, graphs and events. What a stream is given is done at once, so that everything is the same every time; while it
// captures, it is kept for graphs. TTI_CUDA_ON_CPU_LATE=1 puts everything off until somebody waits, which shows a host that
// reads too early or writes to what is still to be read.
#include "execution.h"
#include "modules.h"
#include "state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <set>
#include <thread>
#include <vector>

#include "../../Sources/CTTICUDA/include/driver.h"

struct Event;

namespace {

enum Kind { do_launch, copy_in, copy_out, copy_inside, do_fill, do_record, do_call };

struct Operation {
    Kind kind;
    Launch launch;
    uint64_t target, source;
    size_t bytes;
    unsigned char value;
    std::string staged;  // what was at pageable host memory when the call was made
    bool is_staged;
    Event *event;
    int (*call)(const void *);  // of `staged`
};

struct Stream {
    bool blocking, capturing, invalidated;
    int mode;
    std::thread::id capturing_thread;
    std::vector<Operation> captured;
};

struct Graph {
    std::vector<Operation> operations;
};

struct Program {
    std::vector<Operation> operations;
};

}  // namespace

struct Event {
    bool recorded, captured;
    double time;
};

namespace {

std::set<Stream *> streams;
std::set<Graph *> graphs;
std::set<Program *> programs;
std::set<Event *> events;
std::vector<Operation> late;

double now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

bool is_late() {
    const char *text = getenv("TTI_CUDA_ON_CPU_LATE");
    return text && *text && strcmp(text, "0") != 0;
}

// MARK: Doing

int perform_launch(const Launch &launch) {
    if (!is_function(launch.function))
        return complain(invalid_handle, "launch", "a graph's kernel is of a module that was unloaded");
    const char *failing = getenv("TTI_CUDA_ON_CPU_FAIL");
    if (failing && launch.function->name == failing) {
        coming = illegal_address;
        return success;
    }
    return sticky = run(launch);
}

int check_device(const char *call, const char *role, uint64_t address, size_t bytes) {
    if (is_device_memory(address, bytes)) return success;
    return complain(invalid_value, call, "the %s, %zu bytes at %#llx, is not in an allocation of the device", role, bytes,
                    (unsigned long long)address);
}

int check(const Operation &o) {
    int status = success;
    switch (o.kind) {
    case copy_in:
        status = check_device("cuMemcpyHtoDAsync", "target", o.target, o.bytes);
        if (!status && is_device_memory(o.source, 1))
            status = complain(invalid_value, "cuMemcpyHtoDAsync", "the source is device memory");
        return status;
    case copy_out:
        status = check_device("cuMemcpyDtoHAsync", "source", o.source, o.bytes);
        if (!status && is_device_memory(o.target, 1))
            status = complain(invalid_value, "cuMemcpyDtoHAsync", "the target is device memory");
        return status;
    case copy_inside:
        status = check_device("cuMemcpyDtoDAsync", "target", o.target, o.bytes);
        if (!status) status = check_device("cuMemcpyDtoDAsync", "source", o.source, o.bytes);
        if (!status && o.target < o.source + o.bytes && o.source < o.target + o.bytes)
            status = complain(invalid_value, "cuMemcpyDtoDAsync", "source and target overlap");
        return status;
    case do_fill: return check_device("cuMemsetD8Async", "target", o.target, o.bytes);
    default: return success;
    }
}

int perform(const Operation &o) {
    // The device has already stopped; a copy to pageable memory waits for it.
    if (coming) return o.kind == copy_out && !is_pinned_memory((void *)o.target, o.bytes) ? sticky = coming : success;
    switch (o.kind) {
    case do_launch: return perform_launch(o.launch);
    case do_record:
        if (events.count(o.event)) o.event->recorded = true, o.event->time = now();
        return success;
    case do_call: return sticky = o.call(o.staged.data());
    default: break;
    }
    if (int status = check(o)) return status;
    if (o.kind == do_fill) memset((void *)o.target, o.value, o.bytes);
    else memcpy((void *)o.target, o.is_staged ? (const void *)o.staged.data() : (const void *)o.source, o.bytes);
    return success;
}

// MARK: Giving to streams

Stream *capturing_stream() {
    for (Stream *stream : streams)
        if (stream->capturing) return stream;
    return nullptr;
}

int submit(const char *call, Stream *stream, Operation &&operation) {
    if (stream && !streams.count(stream)) return complain(invalid_handle, call, "no such stream");
    Stream *capturing = capturing_stream();
    if (!stream && capturing && capturing->blocking) {
        capturing->invalidated = true;
        return complain(capture_implicit, call, "the default stream is used while a stream that waits for it captures");
    }
    if (stream && stream->capturing) {
        if (stream->invalidated) return capture_invalidated;
        if (operation.kind == do_record) operation.event->captured = true;
        if (int status = check(operation)) {
            stream->invalidated = true;
            return status;
        }
        stream->captured.push_back(std::move(operation));
        return success;
    }
    if (operation.kind == do_record) operation.event->captured = false;
    if (!is_late()) {
        if (int status = late.empty() ? success : finish_all()) return status;
        return perform(operation);
    }
    if (int status = check(operation)) return status;
    if (operation.kind == copy_in && !is_pinned_memory((const void *)operation.source, operation.bytes)) {
        operation.staged.assign((const char *)operation.source, operation.bytes);
        operation.is_staged = true;
    }
    // A copy to pageable memory is done when the call returns.
    bool waits = operation.kind == copy_out && !is_pinned_memory((void *)operation.target, operation.bytes);
    late.push_back(std::move(operation));
    return waits ? finish_all() : success;
}

Operation copy_of(Kind kind, uint64_t target, uint64_t source, size_t bytes) {
    return {kind, {}, target, source, bytes, 0, {}, false, nullptr, nullptr};
}

int check_launch(const ctti_launch_configuration &c, const Function &function, Launch &launch) {
    const char *name = function.name.c_str();
    if (c.grid_x == 0 || c.grid_y == 0 || c.grid_z == 0 || c.grid_x > 0x7fffffff || c.grid_y > 65535 || c.grid_z > 65535)
        return complain(invalid_value, "cuLaunchKernelEx", "kernel %s: a grid of %u × %u × %u blocks", name, c.grid_x,
                        c.grid_y, c.grid_z);
    uint64_t threads = (uint64_t)c.block_x * c.block_y * c.block_z;
    if (threads == 0 || threads > 1024 || c.block_z > 64)
        return complain(invalid_value, "cuLaunchKernelEx", "kernel %s: a block of %u × %u × %u threads", name, c.block_x,
                        c.block_y, c.block_z);
    if (threads > function.kernel->threads)
        return complain(invalid_value, "cuLaunchKernelEx", "kernel %s: %u threads in a block, its limit is %u", name,
                        (unsigned)threads, function.kernel->threads);
    if (function.kernel->parameter_bytes > most_parameter_bytes)
        return complain(invalid_value, "cuLaunchKernelEx", "kernel %s: %u bytes of parameters", name,
                        function.kernel->parameter_bytes);
    if (c.shared_bytes > function.most_shared_bytes)
        return complain(invalid_value, "cuLaunchKernelEx",
                        "kernel %s: %u bytes of dynamic shared memory, the limit of the function is %u", name,
                        c.shared_bytes, function.most_shared_bytes);
    for (unsigned i = 0; i < c.attribute_count; i++) {
        const ctti_launch_attribute &attribute = c.attributes[i];
        if (attribute.id == 6) launch.may_begin_early = attribute.value.programmatic_serialization != 0;
        else if (attribute.id != 0)
            return complain(not_supported, "cuLaunchKernelEx", "kernel %s: launch attribute %d", name, attribute.id);
    }
    return success;
}

}  // namespace

int finish_all() {
    std::vector<Operation> operations;
    operations.swap(late);
    for (const Operation &operation : operations) {
        int status = perform(operation);
        if (status) return sticky = status;
    }
    if (coming) return sticky = coming;
    return success;
}

int refuse_in_capture(const char *call) {
    Stream *stream = capturing_stream();
    if (!stream || stream->mode == 2) return success;
    if (stream->mode == 1 && stream->capturing_thread != std::this_thread::get_id()) return success;
    stream->invalidated = true;
    return complain(capture_unsupported, call, "not while a stream captures");
}

// MARK: Work

EXPORT int cuMemcpyHtoDAsync_v2(uint64_t target, const void *source, size_t bytes, Stream *stream) {
    ENTER_CONTEXT
    return submit(__func__, stream, copy_of(copy_in, target, (uint64_t)source, bytes));
}
EXPORT int cuMemcpyDtoHAsync_v2(void *target, uint64_t source, size_t bytes, Stream *stream) {
    ENTER_CONTEXT
    return submit(__func__, stream, copy_of(copy_out, (uint64_t)target, source, bytes));
}
EXPORT int cuMemcpyDtoDAsync_v2(uint64_t target, uint64_t source, size_t bytes, Stream *stream) {
    ENTER_CONTEXT
    return submit(__func__, stream, copy_of(copy_inside, target, source, bytes));
}
EXPORT int cuMemsetD8Async(uint64_t target, unsigned char value, size_t bytes, Stream *stream) {
    ENTER_CONTEXT
    Operation operation = copy_of(do_fill, target, 0, bytes);
    operation.value = value;
    return submit(__func__, stream, std::move(operation));
}

EXPORT int cuLaunchKernelEx(const ctti_launch_configuration *c, Function *function, void **parameters, void **extra) {
    ENTER_CONTEXT
    if (!is_function(function)) return complain(invalid_handle, __func__, "no such function");
    if (!parameters || extra) return complain(invalid_value, __func__, "parameters are missing");
    Operation operation = copy_of(do_launch, 0, 0, 0);
    Launch &launch = operation.launch;
    if (int status = check_launch(*c, *function, launch)) return status;
    launch.function = function;
    launch.parameters.assign((const char *)parameters[0], function->kernel->parameter_bytes);
    launch.grid = {c->grid_x, c->grid_y, c->grid_z};
    launch.block = {c->block_x, c->block_y, c->block_z};
    launch.shared_bytes = c->shared_bytes;
    return submit(__func__, (Stream *)c->stream, std::move(operation));
}

// For libraries of this folder: a call with a copy of `data`, in the stream's order. It gives 0 or a status.
EXPORT int tti_cpu_call(Stream *stream, int (*call)(const void *), const void *data, size_t bytes) {
    ENTER_CONTEXT
    Operation operation = copy_of(do_call, 0, 0, 0);
    operation.call = call;
    operation.staged.assign((const char *)data, bytes);
    return submit(__func__, stream, std::move(operation));
}
EXPORT bool tti_cpu_is_device_memory(uint64_t address, size_t bytes) { return is_device_memory(address, bytes); }

// MARK: Streams

EXPORT int cuStreamCreate(Stream **stream, unsigned flags) {
    ENTER_CONTEXT
    *stream = new Stream{(flags & 1) == 0, false, false, 0, {}, {}};
    streams.insert(*stream);
    return success;
}

EXPORT int cuStreamDestroy_v2(Stream *stream) {
    ENTER_CONTEXT
    if (!streams.erase(stream)) return complain(invalid_handle, __func__, "no such stream");
    delete stream;
    return success;
}

EXPORT int cuStreamSynchronize(Stream *stream) {
    ENTER_CONTEXT
    if (stream && !streams.count(stream)) return complain(invalid_handle, __func__, "no such stream");
    if ((stream && stream->capturing) || (!stream && capturing_stream())) {
        (stream ? stream : capturing_stream())->invalidated = true;
        return complain(capture_unsupported, __func__, "not while the stream captures");
    }
    if (int status = finish_all()) return status;
    return is_memory_intact() ? success : sticky = illegal_address;
}

EXPORT int cuStreamBeginCapture_v2(Stream *stream, int mode) {
    ENTER_CONTEXT
    if (!stream) return complain(capture_unsupported, __func__, "the default stream cannot capture");
    if (!streams.count(stream)) return complain(invalid_handle, __func__, "no such stream");
    if (stream->capturing || mode < 0 || mode > 2)
        return complain(invalid_value, __func__, "it captures already, or mode %d", mode);
    stream->capturing = true;
    stream->invalidated = false;
    stream->mode = mode;
    stream->capturing_thread = std::this_thread::get_id();
    stream->captured.clear();
    return success;
}

EXPORT int cuStreamEndCapture(Stream *stream, Graph **graph) {
    ENTER_CONTEXT
    if (!streams.count(stream)) return complain(invalid_handle, __func__, "no such stream");
    *graph = nullptr;
    if (!stream->capturing) return complain(invalid_value, __func__, "the stream does not capture");
    stream->capturing = false;
    if (stream->invalidated) return capture_invalidated;
    *graph = new Graph{std::move(stream->captured)};
    stream->captured.clear();
    graphs.insert(*graph);
    return success;
}

// MARK: Graphs

EXPORT int cuGraphInstantiateWithFlags(Program **program, Graph *graph, uint64_t) {
    ENTER_CONTEXT
    if (!graphs.count(graph)) return complain(invalid_handle, __func__, "no such graph");
    *program = new Program{graph->operations};
    programs.insert(*program);
    return success;
}

EXPORT int cuGraphLaunch(Program *program, Stream *stream) {
    ENTER_CONTEXT
    if (!programs.count(program)) return complain(invalid_handle, __func__, "no such program");
    for (const Operation &operation : program->operations) {
        Operation copy = operation;
        if (int status = submit(__func__, stream, std::move(copy))) return status;
    }
    return success;
}

EXPORT int cuGraphExecDestroy(Program *program) {
    ENTER_CONTEXT
    if (!programs.erase(program)) return complain(invalid_handle, __func__, "no such program");
    delete program;
    return success;
}

EXPORT int cuGraphDestroy(Graph *graph) {
    ENTER_CONTEXT
    if (!graphs.erase(graph)) return complain(invalid_handle, __func__, "no such graph");
    delete graph;
    return success;
}

// MARK: Events

EXPORT int cuEventCreate(Event **event, unsigned) {
    ENTER_CONTEXT
    *event = new Event{false, false, 0};
    events.insert(*event);
    return success;
}

EXPORT int cuEventRecord(Event *event, Stream *stream) {
    ENTER_CONTEXT
    if (!events.count(event)) return complain(invalid_handle, __func__, "no such event");
    Operation operation = copy_of(do_record, 0, 0, 0);
    operation.event = event;
    return submit(__func__, stream, std::move(operation));
}

EXPORT int cuEventSynchronize(Event *event) {
    ENTER_CONTEXT
    if (!events.count(event)) return complain(invalid_handle, __func__, "no such event");
    if (event->captured) return complain(captured_event, __func__, "the event was recorded in a capture");
    return finish_all();
}

EXPORT int cuEventElapsedTime(float *milliseconds, Event *start, Event *end) {
    ENTER_CONTEXT
    if (!events.count(start) || !events.count(end)) return complain(invalid_handle, __func__, "no such event");
    if (start->captured || end->captured) return complain(captured_event, __func__, "an event was recorded in a capture");
    if (!start->recorded || !end->recorded) {
        for (const Operation &operation : late)
            if (operation.event == start || operation.event == end) return not_ready;
        return complain(invalid_handle, __func__, "an event was never recorded");
    }
    const float resolution = 0.0005f;
    *milliseconds = (float)(end->time - start->time);
    if (*milliseconds < resolution) *milliseconds = resolution;
    return success;
}

EXPORT int cuEventDestroy_v2(Event *event) {
    ENTER_CONTEXT
    if (!events.erase(event)) return complain(invalid_handle, __func__, "no such event");
    delete event;
    return success;
}
