package observe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// checkExact checks that text is one JSON object, possibly with objects in it, without lists and
// repeated names. encoding/json takes the last of two equal names and ignores case, and so could
// carry out a command that was not meant.
func checkExact(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	first, err := d.Token()
	if err != nil {
		return fmt.Errorf("the body is not a JSON object: %w", err)
	}
	if first != json.Delim('{') {
		return errors.New("the body is not a JSON object; write {...}")
	}
	if err := members(d); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is text after the JSON object")
	}
	return nil
}

// members reads the members of an object after its {.
func members(d *json.Decoder) error {
	seen := map[string]bool{}
	for {
		name, err := d.Token()
		if err != nil {
			return fmt.Errorf("the JSON object does not end: %w", err)
		}
		if name == json.Delim('}') {
			return nil
		}
		if strings.Trim(name.(string), "abcdefghijklmnopqrstuvwxyz_") != "" {
			return fmt.Errorf("name %q is unknown; names have lower-case letters and _", name)
		}
		if seen[name.(string)] {
			return fmt.Errorf("name %q is repeated in the JSON object", name)
		}
		seen[name.(string)] = true
		value, err := d.Token()
		switch {
		case err != nil:
			return fmt.Errorf("the JSON object does not end: %w", err)
		case value == json.Delim('{'):
			if err := members(d); err != nil {
				return err
			}
		case value == nil:
			return fmt.Errorf("%s is null; write a value, or leave the name out", name)
		case value == json.Delim('['):
			return errors.New("a list is not accepted here")
		}
	}
}
