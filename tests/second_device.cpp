// A second device in the processor's memory, on which a forgotten `.to(device)` shows as on a GPU:
// its tensors have no `.numpy()`, and operations refuse them beside a CPU's. Every operation is
// the CPU's own, between two copies.

#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/extension.h>

namespace {

using at::IntArrayRef;
using at::Tensor;
using std::optional;

constexpr auto kSecond = c10::DeviceType::PrivateUse1;
constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);
const c10::Device second(kSecond, 0);

struct Memory final : c10::Allocator {
  static void release(void* p) { c10::free_cpu(p); }
  c10::DataPtr allocate(size_t n) override {
    void* p = n ? c10::alloc_cpu(n) : nullptr;
    return {p, p, &release, second};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t n) const override {
    default_copy_data(to, from, n);
  }
};
Memory memory;
REGISTER_ALLOCATOR(kSecond, &memory);

struct Guard final : c10::impl::DeviceGuardImplInterface {
  const c10::Stream only{c10::Stream::DEFAULT, second};
  c10::DeviceType type() const override { return kSecond; }
  c10::Device exchangeDevice(c10::Device) const override { return second; }
  c10::Device getDevice() const override { return second; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const noexcept override { return only; }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return only; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  at::Generator getNewGenerator(c10::DeviceIndex) const override {
    return at::detail::createCPUGenerator();
  }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
};
Hooks hooks;

// The same memory as a tensor of the CPU.
Tensor seen(const Tensor& t) {
  if (t.is_cpu()) return t;
  auto how = t.options().device(at::kCPU).requires_grad(false);
  return at::from_blob(const_cast<void*>(t.const_data_ptr()), t.sizes(), t.strides(), how);
}

Tensor empty(IntArrayRef size, optional<at::ScalarType> dtype, optional<at::Layout>,
             optional<at::Device>, optional<bool>, optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, kKeys, c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(IntArrayRef size, IntArrayRef stride, optional<at::ScalarType> dtype,
                     optional<at::Layout>, optional<at::Device>, optional<bool>) {
  auto type = c10::dtype_or_default(dtype);
  return at::detail::empty_strided_generic(size, stride, &memory, kKeys, type);
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  if (from.numel()) seen(to).copy_(from.is_neg() ? seen(from).neg() : seen(from));
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  at::native::resize_(to, from.sizes());
  return copy_from(from, to, false);
}

const Tensor& resize_(const Tensor& self, IntArrayRef size, optional<at::MemoryFormat>) {
  at::native::resize_impl_cpu_(self.unsafeGetTensorImpl(), size, std::nullopt);
  return self;
}

Tensor& set_part(Tensor& self, at::Storage from, int64_t offset, IntArrayRef size,
                 IntArrayRef stride) {
  self.unsafeGetTensorImpl()->set_storage_keep_dtype(from);
  self.unsafeGetTensorImpl()->set_sizes_and_strides(size, stride, offset);
  return self;
}

Tensor& set_whole(Tensor& self, at::Storage from) {
  return set_part(self, from, 0, {int64_t(from.nbytes() / self.dtype().itemsize())}, {1});
}

at::Scalar number(const Tensor& self) { return seen(self).item(); }

int64_t plain_attention(const Tensor&, const Tensor&, const Tensor&, const optional<Tensor>&, double,
                        bool, optional<double>, bool) {
  return 0;
}

Tensor convolution(const Tensor& input, const Tensor& weight, const optional<Tensor>& bias,
                   IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool transposed,
                   IntArrayRef output_padding, int64_t groups) {
  TORCH_CHECK(input.device() == weight.device(),
              "Expected all tensors to be on the same device, but convolution found ",
              input.device(), " and ", weight.device());
  optional<Tensor> b;
  if (bias.has_value() && bias->defined()) b = seen(*bias);
  return at::convolution(seen(input), seen(weight), b, stride, padding, dilation, transposed,
                         output_padding, groups).to(second);
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(
    const Tensor& grad, const Tensor& input, const Tensor& weight, IntArrayRef stride,
    IntArrayRef padding, IntArrayRef dilation, bool transposed, IntArrayRef output_padding,
    int64_t groups, std::array<bool, 3> mask) {
  std::vector<int64_t> bias{grad.size(1)};
  auto [x, w, b] = at::convolution_backward(seen(grad), seen(input), seen(weight), bias, stride,
                                            padding, dilation, transposed, output_padding, groups,
                                            mask);
  auto there = [](const Tensor& t) { return t.defined() ? t.to(second) : t; };
  return {there(x), there(w), there(b)};
}

// As on CUDA a CPU's tensor may come along as one number, or as the places in x[places].
void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& name = op.schema().name();
  std::vector<Tensor> all;
  for (const auto& value : torch::jit::last(*stack, op.schema().arguments().size())) {
    if (value.isTensor()) all.push_back(value.toTensor());
    if (value.isTensorList())
      for (const Tensor& t : value.toTensorList()) all.push_back(t);
  }
  bool ours = false;
  for (const auto& t : all) ours |= t.defined() && t.device().type() == kSecond;
  const bool places = name == "aten::index" || name == "aten::index_put" ||
                      name == "aten::index_put_" || name == "aten::_index_put_impl_";
  const bool index = places && all[0].device().type() == kSecond;
  for (const auto& t : all)
    TORCH_CHECK(!ours || !t.defined() || t.device().type() == kSecond || t.dim() == 0 || index,
                "Expected all tensors to be on the same device, but ", name, " found ", t.device(),
                " beside ", second);
  at::native::cpu_fallback(op, stack);
}

}  // namespace

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
  m.impl("resize_", &resize_);
  m.impl("set_.source_Storage", &set_whole);
  m.impl("set_.source_Storage_storage_offset", &set_part);
  m.impl("_local_scalar_dense", &number);
  m.impl("as_strided", &at::native::as_strided_tensorimpl);
  m.impl("view", &at::native::view);
  m.impl("_reshape_alias", &at::native::_reshape_alias);
  m.impl("unfold", &at::native::unfold);
  m.impl("_fused_sdp_choice", &plain_attention);
  m.impl("convolution_overrideable", &convolution);
  m.impl("convolution_backward_overrideable", &convolution_backward);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("begin", [] { at::RegisterPrivateUse1HooksInterface(&hooks); });
}
