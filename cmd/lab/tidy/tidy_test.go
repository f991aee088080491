package tidy

import (
	"os"
	"testing"
)

func TestTidy(t *testing.T) {
	complaints, err := Check(os.DirFS("../../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range complaints {
		t.Error(c)
	}
}
