package encode

import "fmt"

// TooLargeError reports an encoder's frame that is larger than allowed.
type TooLargeError struct {
	Payload string // "report" or "query"
	Size    int    // bytes of the whole frame, length prefix included
	Limit   int    // maxFrame, bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("encode: %s of %d bytes is larger than the limit of %d: raise the maximum "+
		"frame size or send less",
		e.Payload, e.Size, e.Limit)
}

// BadFrameError reports an encoder's output that is not one well-formed frame in the buffer it was
// given. The encoder is at fault, whatever the payload was.
type BadFrameError struct {
	Payload string // "report" or "query"
	Size    int    // bytes the encoder returned
	Reason  string // description of what is wrong with them
}

func (e *BadFrameError) Error() string {
	return fmt.Sprintf("encode: encoder returned a bad frame of %d bytes for a %s: %s", e.Size,
		e.Payload, e.Reason)
}

// PanicError reports that the encoder panicked. If the value it panicked with is an error, Unwrap
// returns it.
type PanicError struct {
	Payload string // "report" or "query"
	Value   any    // value of the panic
	Stack   []byte // the goroutine's stack at the panic, as runtime/debug.Stack prints it
}

// Error names the value but not the stack, which the caller logs separately.
func (e *PanicError) Error() string {
	return fmt.Sprintf("encode: encoder panicked on a %s: %v", e.Payload, e.Value)
}

func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
