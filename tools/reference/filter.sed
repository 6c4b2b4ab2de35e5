# Public headers as Doxygen wants to read them: the first comment of a file is the file's, one above a declaration or behind
# it on its line is the declaration's; headings between them are nobody's.
1s|^// |/// @file\
/// |
1s|^/\* |/** @file\
 * |
s|^\( *\)// |\1/// |
/^\/\* ----/!s|^\( *\)/\* |\1/** |
/^ *\/\//!s|\([;,{}] *\) // |\1 ///< |
/^ *\/\*/!s|\([;,{}] *\) /\* |\1 /**< |
