package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseFile reads a mapping of names to values. A list may be written as a sequence.
func (s *Set) parseFile(path string, text []byte) (values []given, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, Usagef("%s: %v", path, err)
	}
	if len(doc.Content) == 0 {
		return nil, nil // comments only
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, Usagef("%s:%d: write lines of the form name: value", path, root.Line)
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		at := fmt.Sprintf("%s:%d", path, key.Line)
		set := s.find(key.Value)
		switch {
		case set == nil && s.renamed(key.Value) != nil:
			return nil, Usagef("%s: the key %s is now %s", at, key.Value, s.renamed(key.Value).Name)
		case set == nil:
			return nil, Usagef("%s: unknown key %q; %s`sluice config print` lists the keys", at,
				key.Value, DidYouMean(key.Value, s.names()))
		case set.NotInFile:
			return nil, Usagef("%s: %s cannot be set in a file; use --%s or %s", at, key.Value,
				set.Name, set.Variable())
		case seen[key.Value] != 0:
			return nil, Usagef("%s: %s is already set in line %d", at, key.Value, seen[key.Value])
		}
		seen[key.Value] = key.Line
		plain, err := scalar(value, set)
		if err != nil {
			return nil, Usagef("%s: %s: %v", at, key.Value, err)
		}
		values = append(values, given{key.Value, plain, at})
	}
	return values, nil
}

// scalar returns the text of a value.
func scalar(node *yaml.Node, set *Setting) (string, error) {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	_, isList := set.Value.(list)
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag == "!!null":
		return "", nil
	case node.Kind == yaml.ScalarNode:
		return node.Value, nil
	case node.Kind == yaml.SequenceNode && isList:
		var parts []string
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				return "", fmt.Errorf("line %d: write one value per line of the list", item.Line)
			}
			parts = append(parts, item.Value)
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("write one value, %s", set.Value.Form())
}
