package raftsim

import "reflect"

// AddCounts adds counts to a sum. T is a struct of ints and of such structs, as Counts is.
func AddCounts[T any](sum *T, counts T) {
	to, from := fields(reflect.ValueOf(sum).Elem()), fields(reflect.ValueOf(&counts).Elem())
	for i := range to {
		*to[i].n += *from[i].n
	}
}

// Missing are the names of the counts that are 0. T is as for AddCounts.
func Missing[T any](counts T) (names []string) {
	for _, f := range fields(reflect.ValueOf(&counts).Elem()) {
		if *f.n == 0 {
			names = append(names, f.name)
		}
	}
	return names
}

type field struct {
	name string
	n    *int
}

func fields(v reflect.Value) (all []field) {
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Struct {
			all = append(all, fields(f)...)
		} else {
			all = append(all, field{v.Type().Field(i).Name, f.Addr().Interface().(*int)})
		}
	}
	return all
}
