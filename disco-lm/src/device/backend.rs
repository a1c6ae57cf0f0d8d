//! The Burn backend that computes, chosen at run time among the compiled backends.

#[cfg(any(feature = "wgpu", feature = "vulkan"))]
use std::sync::{Mutex, PoisonError};
use std::{fmt, str::FromStr};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

#[cfg(any(feature = "wgpu", feature = "vulkan"))]
use burn::tensor::DeviceKind;
#[cfg(any(feature = "tch", feature = "wgpu", feature = "vulkan", feature = "cuda"))]
use burn::tensor::DeviceType;

/// A Burn backend, by the name of its Cargo feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Backend {
    /// Burn's CPU backend.
    Flex,
    /// libtorch: on the first CUDA device that it finds, else on the CPU.
    Tch,
    /// Any GPU: Vulkan, Metal or DirectX 12, whichever the system has.
    Wgpu,
    /// Any GPU with a Vulkan driver, with kernels in SPIR-V.
    Vulkan,
    /// Nvidia GPUs.
    Cuda,
}

impl Backend {
    /// Every backend, compiled in or not.
    pub const ALL: [Self; 5] = [Self::Flex, Self::Tch, Self::Wgpu, Self::Vulkan, Self::Cuda];

    /// The name of the backend, which is also the name of its Cargo feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Tch => "tch",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Cuda => "cuda",
        }
    }

    /// Whether the backend is compiled in.
    pub fn is_compiled(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::Tch => cfg!(feature = "tch"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// The backend's first device; for `wgpu` and `vulkan` the device that the system prefers.
    ///
    /// # Errors
    /// [`Error::Backend`] if the backend is not compiled in, [`Error::NoDevice`] if this machine has no device for it.
    pub fn device(self) -> Result<Device> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "tch")]
            // Deprecated in Burn 0.22, and the only way to libtorch.
            #[allow(deprecated)]
            Self::Tch => Ok(first(DeviceType::LibTorch).unwrap_or_else(Device::libtorch)),
            // Burn panics at the first tensor on a device that does not exist, so its devices are listed before. If the
            // list is not empty, the system has a device to prefer.
            #[cfg(feature = "wgpu")]
            Self::Wgpu => {
                #[cfg(feature = "vulkan")]
                let found = || card(DeviceType::Wgpu);
                #[cfg(not(feature = "vulkan"))]
                let found = || first(DeviceType::Wgpu);
                self.remembered(|| found().is_some())
                    .then(|| Device::wgpu(DeviceKind::DefaultDevice))
                    .ok_or_else(|| absent(self, WGPU_WANTS))
            }
            #[cfg(feature = "vulkan")]
            Self::Vulkan => self
                .remembered(|| card(DeviceType::Vulkan).is_some())
                .then(|| Device::vulkan(DeviceKind::DefaultDevice))
                .ok_or_else(|| {
                    absent(self, "a GPU with its Vulkan driver (a software driver serves `wgpu` alone)")
                }),
            #[cfg(feature = "cuda")]
            Self::Cuda => {
                first(DeviceType::Cuda).ok_or_else(|| absent(self, "an Nvidia GPU with its driver (libcuda)"))
            }
            #[allow(unreachable_patterns)]
            absent => Err(Error::Backend { asked: absent.name().into(), compiled: compiled() }),
        }
    }
}

impl Backend {
    /// Whether this machine has a device for the backend. One that was found once is not looked for again: each search loads and
    /// unloads the drivers, and Nvidia's (580) can be loaded some 30 times in a process, after which there seems to be no device.
    #[cfg(any(feature = "wgpu", feature = "vulkan"))]
    fn remembered(self, is_there: impl FnOnce() -> bool) -> bool {
        static FOUND: Mutex<Vec<Backend>> = Mutex::new(Vec::new());
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if !found.contains(&self) && is_there() {
            found.push(self);
        }
        found.contains(&self)
    }
}

/// The first device of a kind that this machine has.
#[cfg(any(feature = "tch", feature = "wgpu", feature = "vulkan", feature = "cuda"))]
fn first(kind: DeviceType) -> Option<Device> {
    Device::enumerate(kind).into_iter().next()
}

/// The first device of a kind that is a graphics card, not a software driver. Mesa's software driver crashes the process on
/// the matmul kernels that come with the feature `vulkan` (Mesa 22.3.6 and 25.0.7, in `vkCreateComputePipelines`). With
/// that feature, `wgpu` has these kernels too.
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
