//! Whether a tensor is in CPU memory.

use burn::tensor::{Device, Tensor};

/// Whether a tensor is in CPU memory and not part of an autodiff graph: the kernels of this crate can compute with it.
pub(crate) fn is_in_cpu_memory<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device();
    !device.is_autodiff() && is_cpu(&device)
}

/// Whether a device is the CPU through `flex`: it computes in CPU memory, on rayon's threads.
pub(crate) fn is_cpu(device: &Device) -> bool {
    #[cfg(test)]
    if crate::testing::is_other_device() {
        return false;
    }
    #[cfg(feature = "flex")]
    {
        *device == Device::flex()
    }
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        false
    }
}
