//! What a policy that wraps a table leaves to it.

/// The methods of a policy in which nothing but its table has a part.
macro_rules! leave_to_table {
    ($($table:ident).+) => {
        fn pending(&self) -> disco_core::Result<disco_tuner::Tensors<f64>> {
            self.$($table).+.pending()
        }

        fn replace_pending(&mut self, gradient: disco_tuner::Tensors<f64>) -> disco_core::Result<()> {
            self.$($table).+.replace_pending(gradient)
        }

        fn clear(&mut self) {
            self.$($table).+.clear();
        }

        fn load(&mut self, folder: &std::path::Path) -> disco_core::Result<()> {
            self.$($table).+.load(folder)
        }
    };
}
pub(crate) use leave_to_table;
