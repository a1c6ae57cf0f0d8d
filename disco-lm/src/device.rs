//! Which Burn backend computes, chosen at run time among those compiled in.

use std::{fmt, str::FromStr};

use burn::tensor::Device;

use crate::{Error, Result};

/// A Burn backend, by the name of its Cargo feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// Burn's CPU backend.
    Flex,
    /// libtorch.
    Tch,
    /// WebGPU, Vulkan or Metal.
    Wgpu,
    /// Nvidia GPUs.
    Cuda,
}

impl Backend {
    /// Every backend, compiled in or not.
    pub const ALL: [Self; 4] = [Self::Flex, Self::Tch, Self::Wgpu, Self::Cuda];

    /// Its name, which is also its Cargo feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Tch => "tch",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }

    /// Whether it is compiled in.
    pub fn is_compiled(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::Tch => cfg!(feature = "tch"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// Its first device.
    ///
    /// # Errors
    /// [`Error::Backend`] if it is not compiled in.
    pub fn device(self) -> Result<Device> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "tch")]
            // Deprecated in Burn 0.22, but the fastest there is on an x86 CPU.
            #[allow(deprecated)]
            Self::Tch => Ok(Device::libtorch()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(0)),
            #[allow(unreachable_patterns)]
            absent => Err(Error::Backend { asked: absent.name().into(), compiled: compiled() }),
        }
    }
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
            .ok_or_else(|| Error::invalid("backend", name, "flex, tch, wgpu, cuda"))
    }
}
