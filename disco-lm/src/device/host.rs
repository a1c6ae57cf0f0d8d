//! Whether tensors lie in the memory of the CPU.

use burn::tensor::{Device, Tensor};

/// Whether a tensor lies in the host's memory, outside of any graph.
pub(crate) fn holds<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device();
    !device.is_autodiff() && is_host(&device)
}

/// Whether a device computes in the host's memory, on the threads of rayon.
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
