package powerloss

// Call is one call of the child, before it is executed.
type Call struct {
	Name    string
	Path    string // of the file, or of the name concerned
	To      string // renames: the new name
	Off     int64  // write, fallocate: offset; ftruncate: new size
	Size    int64  // fallocate: number of bytes
	Data    []byte // write
	Flag    int    // openat
	Message string // message of the child instead of a file operation
}
