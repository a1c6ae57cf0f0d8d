//! Which Burn backend computes, chosen at run time among those compiled in.

use std::{fmt, str::FromStr};

use burn::tensor::Device;

use crate::{Error, Result};

#[cfg(any(feature = "wgpu", feature = "vulkan"))]
use burn::tensor::DeviceKind;
#[cfg(any(feature = "tch", feature = "wgpu", feature = "vulkan", feature = "cuda"))]
use burn::tensor::DeviceType;

/// A Burn backend, by the name of its Cargo feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// Burn's CPU backend.
    Flex,
    /// libtorch: on the first CUDA device that it sees, else on the CPU.
    Tch,
    /// Any GPU: Vulkan, Metal or DirectX 12, whichever the system has.
    Wgpu,
    /// The same through Vulkan alone, with kernels in SPIR-V.
    Vulkan,
    /// Nvidia GPUs.
    Cuda,
}

impl Backend {
    /// Every backend, compiled in or not.
    pub const ALL: [Self; 5] = [Self::Flex, Self::Tch, Self::Wgpu, Self::Vulkan, Self::Cuda];

    /// Its name, which is also its Cargo feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Tch => "tch",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Cuda => "cuda",
        }
    }

    /// Whether it is compiled in.
    pub fn is_compiled(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::Tch => cfg!(feature = "tch"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// Its first device; for `wgpu` and `vulkan` the one that the system prefers.
    ///
    /// # Errors
    /// [`Error::Backend`] if it is not compiled in, [`Error::NoDevice`] if this machine has no device for it.
    pub fn device(self) -> Result<Device> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "tch")]
            // Deprecated in Burn 0.22, and the only way to libtorch.
            #[allow(deprecated)]
            Self::Tch => Ok(first(DeviceType::LibTorch).unwrap_or_else(Device::libtorch)),
            // Burn panics at the first tensor on a device that is not there, so it is asked before. A list that is not
            // empty says that there is something to prefer.
            #[cfg(feature = "wgpu")]
            Self::Wgpu => {
                #[cfg(feature = "vulkan")]
                let found = card(DeviceType::Wgpu);
                #[cfg(not(feature = "vulkan"))]
                let found = first(DeviceType::Wgpu);
                found.map(|_| Device::wgpu(DeviceKind::DefaultDevice)).ok_or_else(|| absent(self, WGPU_WANTS))
            }
            #[cfg(feature = "vulkan")]
            Self::Vulkan => {
                let found = card(DeviceType::Vulkan).map(|_| Device::vulkan(DeviceKind::DefaultDevice));
                found.ok_or_else(|| {
                    absent(self, "a GPU with its Vulkan driver (a software driver serves `wgpu` alone)")
                })
            }
            #[cfg(feature = "cuda")]
            Self::Cuda => {
                first(DeviceType::Cuda).ok_or_else(|| absent(self, "an Nvidia GPU with its driver (libcuda)"))
            }
            #[allow(unreachable_patterns)]
            absent => Err(Error::Backend { asked: absent.name().into(), compiled: compiled() }),
        }
    }
}

/// The first device of a kind that this machine has.
#[cfg(any(feature = "tch", feature = "wgpu", feature = "vulkan", feature = "cuda"))]
fn first(kind: DeviceType) -> Option<Device> {
    Device::enumerate(kind).into_iter().next()
}

/// The first that is a card, and not a driver in software. Mesa's crashes over the matrix products that come with the feature
/// `vulkan` (22.3.6 and 25.0.7, in `vkCreateComputePipelines`), and takes the process with it. With that feature `wgpu` has the
/// same kernels.
#[cfg(feature = "vulkan")]
fn card(kind: DeviceType) -> Option<Device> {
    let is_card = |device: &Device| device.identity().is_some_and(|identity| identity.physical.is_some());
    Device::enumerate(kind).into_iter().find(is_card)
}

#[cfg(feature = "wgpu")]
const WGPU_WANTS: &str = if cfg!(feature = "vulkan") {
    "a GPU with its driver (one in software serves builds without the feature `vulkan`)"
} else {
    "a GPU with its driver, or one in software such as Mesa's llvmpipe (Debian: mesa-vulkan-drivers)"
};

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
fn absent(backend: Backend, wanted: &'static str) -> Error {
    Error::NoDevice { backend: backend.name(), wanted }
}

fn compiled() -> String {
    let names: Vec<_> = Backend::ALL.into_iter().filter(|b| b.is_compiled()).map(Backend::name).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| Error::invalid("backend", name, Self::ALL.map(Self::name).join(", ")))
    }
}
