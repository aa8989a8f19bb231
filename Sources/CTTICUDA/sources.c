#include "sources.h"

static const char attention_cuh[] = {
#embed "Kernels/attention.cuh"
    , 0};
static const char attention_rows_cuh[] = {
#embed "Kernels/attention_rows.cuh"
    , 0};
static const char decode_linear_cuh[] = {
#embed "Kernels/decode_linear.cuh"
    , 0};
static const char device_cuh[] = {
#embed "Kernels/device.cuh"
    , 0};
static const char draw_cuh[] = {
#embed "Kernels/draw.cuh"
    , 0};
static const char hopper_cuh[] = {
#embed "Kernels/hopper.cuh"
    , 0};
static const char hopper_products_cuh[] = {
#embed "Kernels/hopper_products.cuh"
    , 0};
static const char panels_cuh[] = {
#embed "Kernels/panels.cuh"
    , 0};
static const char partial_statistics_cuh[] = {
#embed "Kernels/partial_statistics.cuh"
    , 0};
static const char philox_cuh[] = {
#embed "Kernels/philox.cuh"
    , 0};
static const char rows_cuh[] = {
#embed "Kernels/rows.cuh"
    , 0};
static const char select_cuh[] = {
#embed "Kernels/select.cuh"
    , 0};
static const char tiles_cuh[] = {
#embed "Kernels/tiles.cuh"
    , 0};
static const char parameters_h[] = {
#embed "include/Parameters.h"
    , 0};
static const char attention_cu[] = {
#embed "Kernels/attention.cu"
    , 0};
static const char attention_hopper_cu[] = {
#embed "Kernels/attention_hopper.cu"
    , 0};
static const char attention_short_cu[] = {
#embed "Kernels/attention_short.cu"
    , 0};
static const char ceilings_cu[] = {
#embed "Kernels/ceilings.cu"
    , 0};
static const char choice_cu[] = {
#embed "Kernels/choice.cu"
    , 0};
static const char decode_attention_cu[] = {
#embed "Kernels/decode_attention.cu"
    , 0};
static const char decode_linear_cu[] = {
#embed "Kernels/decode_linear.cu"
    , 0};
static const char decode_linear_float_cu[] = {
#embed "Kernels/decode_linear_float.cu"
    , 0};
static const char decode_linear_int8_cu[] = {
#embed "Kernels/decode_linear_int8.cu"
    , 0};
static const char decode_norm_linear_cu[] = {
#embed "Kernels/decode_norm_linear.cu"
    , 0};
static const char decode_norm_linear_int8_cu[] = {
#embed "Kernels/decode_norm_linear_int8.cu"
    , 0};
static const char depthwise_cu[] = {
#embed "Kernels/depthwise.cu"
    , 0};
static const char diffusion_cu[] = {
#embed "Kernels/diffusion.cu"
    , 0};
static const char eager_attention_cu[] = {
#embed "Kernels/eager_attention.cu"
    , 0};
static const char elementwise_cu[] = {
#embed "Kernels/elementwise.cu"
    , 0};
static const char hopper_cu[] = {
#embed "Kernels/hopper.cu"
    , 0};
static const char hopper_int8_cu[] = {
#embed "Kernels/hopper_int8.cu"
    , 0};
static const char image_norm_cu[] = {
#embed "Kernels/image_norm.cu"
    , 0};
static const char nearest_cu[] = {
#embed "Kernels/nearest.cu"
    , 0};
static const char norm_cu[] = {
#embed "Kernels/norm.cu"
    , 0};
static const char norm_of_matrix_cu[] = {
#embed "Kernels/norm_of_matrix.cu"
    , 0};
static const char quantise_cu[] = {
#embed "Kernels/quantise.cu"
    , 0};
static const char tiles_cu[] = {
#embed "Kernels/tiles.cu"
    , 0};
static const char unmask_cu[] = {
#embed "Kernels/unmask.cu"
    , 0};
static const char weights_cu[] = {
#embed "Kernels/weights.cu"
    , 0};

#define SOURCE(file, text) {file, text, sizeof text - 1}

const ctti_source ctti_kernel_headers[] = {
    SOURCE("attention.cuh", attention_cuh),
    SOURCE("attention_rows.cuh", attention_rows_cuh),
    SOURCE("decode_linear.cuh", decode_linear_cuh),
    SOURCE("device.cuh", device_cuh),
    SOURCE("draw.cuh", draw_cuh),
    SOURCE("hopper.cuh", hopper_cuh),
    SOURCE("hopper_products.cuh", hopper_products_cuh),
    SOURCE("panels.cuh", panels_cuh),
    SOURCE("partial_statistics.cuh", partial_statistics_cuh),
    SOURCE("philox.cuh", philox_cuh),
    SOURCE("rows.cuh", rows_cuh),
    SOURCE("select.cuh", select_cuh),
    SOURCE("tiles.cuh", tiles_cuh),
    SOURCE("Parameters.h", parameters_h),
};
const size_t ctti_kernel_header_count = sizeof ctti_kernel_headers / sizeof ctti_kernel_headers[0];

const ctti_source ctti_kernel_sources[] = {
    SOURCE("attention.cu", attention_cu),
    SOURCE("attention_hopper.cu", attention_hopper_cu),
    SOURCE("attention_short.cu", attention_short_cu),
    SOURCE("ceilings.cu", ceilings_cu),
    SOURCE("choice.cu", choice_cu),
    SOURCE("decode_attention.cu", decode_attention_cu),
    SOURCE("decode_linear.cu", decode_linear_cu),
    SOURCE("decode_linear_float.cu", decode_linear_float_cu),
    SOURCE("decode_linear_int8.cu", decode_linear_int8_cu),
    SOURCE("decode_norm_linear.cu", decode_norm_linear_cu),
    SOURCE("decode_norm_linear_int8.cu", decode_norm_linear_int8_cu),
    SOURCE("depthwise.cu", depthwise_cu),
    SOURCE("diffusion.cu", diffusion_cu),
    SOURCE("eager_attention.cu", eager_attention_cu),
    SOURCE("elementwise.cu", elementwise_cu),
    SOURCE("hopper.cu", hopper_cu),
    SOURCE("hopper_int8.cu", hopper_int8_cu),
    SOURCE("image_norm.cu", image_norm_cu),
    SOURCE("nearest.cu", nearest_cu),
    SOURCE("norm.cu", norm_cu),
    SOURCE("norm_of_matrix.cu", norm_of_matrix_cu),
    SOURCE("quantise.cu", quantise_cu),
    SOURCE("tiles.cu", tiles_cu),
    SOURCE("unmask.cu", unmask_cu),
    SOURCE("weights.cu", weights_cu),
};
const size_t ctti_kernel_source_count = sizeof ctti_kernel_sources / sizeof ctti_kernel_sources[0];
