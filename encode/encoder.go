package encode

// Encoder is what an application implements to have its outputs sent to clients. R is its report (an answer to a
// sequenced request), Q its query result; an application without queries uses struct{} for Q and returns an error.
//
// Each method appends exactly one frame to dst and returns the extended slice, as the built-in append does: a
// little-endian u32 that counts what follows it, a tag of [TagApplication] or above, and the body. BatchEnd is not
// the encoder's business.
//
// What the methods may rely on: dst has length 0 and room for the configured maxFrame, so appending within that limit
// never allocates. Both methods are called from one goroutine, the encode actor's, one call at a time.
//
// What they must not do: keep dst or the payload after they return, change the payload, block, or start over in a
// buffer of their own. An output that cannot be encoded is an error, not a panic; either ends the connection that was to
// receive it, and the error's text is what the operator reads.
type Encoder[R, Q any] interface {
	AppendReport(dst []byte, report *R) ([]byte, error)
	AppendQuery(dst []byte, query *Q) ([]byte, error)
}
