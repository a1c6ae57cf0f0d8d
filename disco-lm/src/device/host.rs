//! Whether a tensor is in CPU memory.

use burn::tensor::{Device, Tensor};

/// Whether a tensor is in CPU memory and not part of an autodiff graph: the kernels of this crate can compute with it.
pub(crate) fn holds<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device();
    !device.is_autodiff() && is_host(&device)
}

/// Whether a device is the CPU through `flex`: it computes in CPU memory, on rayon's threads.
pub(crate) fn is_host(device: &Device) -> bool {
    #[cfg(test)]
    if crate::testing::is_elsewhere() {
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
