package encode

// Encoder is implemented by an application to encode its outputs for clients. R is its report (the
// response to a sequenced request), Q its query result. An application without queries uses
// struct{} for Q and returns an error.
//
// Each method appends exactly one frame to dst and returns the extended slice, as the built-in
// append does: a little-endian u32 that counts what follows it, a tag of [TagApplication] or above,
// and the body. The encoder does not write BatchEnd.
//
// The methods may rely on the following: dst has length 0 and room for the configured maxFrame, so
// appending within that limit never allocates. A pipeline calls both methods from one goroutine, the
// encode actor's, one call at a time. A node also calls AppendReport from two others at the same
// time, for the digest of all outputs (package actors/node).
//
// They must not keep dst or the payload after they return, change the payload, block, or write to a
// buffer of their own. If an output cannot be encoded, return an error instead of panicking. Either
// ends the connection of the output, and the error's text is shown to the operator.
type Encoder[R, Q any] interface {
	AppendReport(dst []byte, report *R) ([]byte, error)
	AppendQuery(dst []byte, query *Q) ([]byte, error)
}
