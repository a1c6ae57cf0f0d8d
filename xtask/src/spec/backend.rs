//! The Burn backend that a run asks for.

use serde::{Deserialize, Serialize};

/// A Burn backend: a Cargo feature of xtask and of disco-lm.
///
/// `disco_lm::Backend` is its twin: a spec is also read where disco-lm is not compiled in. A test holds the two to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Burn's own CPU backend, on all cores.
    #[default]
    Flex,
    /// libtorch 2.9, on CPU or CUDA.
    Tch,
    /// Any GPU through WebGPU, or a software Vulkan driver.
    Wgpu,
    /// GPUs through Vulkan alone.
    Vulkan,
    /// Nvidia GPUs.
    Cuda,
}

impl Backend {
    /// The name of the Cargo feature.
    pub fn feature(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Tch => "tch",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Cuda => "cuda",
        }
    }

    /// Whether this binary was compiled with it.
    pub fn is_compiled(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::Tch => cfg!(feature = "tch"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }
}
