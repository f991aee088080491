package observe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// exact checks that text is one flat JSON object, or one with objects in it, in which no name stands twice. encoding/json
// takes the last of two equal names, and names in other letters as equal, and with it a command that its sender may not
// have meant.
func exact(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	first, err := d.Token()
	if err != nil {
		return fmt.Errorf("the body is no JSON object: %w", err)
	}
	if first != json.Delim('{') {
		return errors.New("the body is no JSON object; write {...}")
	}
	if err := members(d); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// members reads what stands in an object whose { was read.
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
			return fmt.Errorf("%q is no name here", name)
		}
		if seen[name.(string)] {
			return fmt.Errorf("%q stands twice in the JSON object", name)
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
		case value == json.Delim('['):
			return errors.New("no list belongs here")
		}
	}
}
