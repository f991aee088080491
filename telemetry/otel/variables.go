package otel

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The SDK and its exporters read variables by themselves. A value that they cannot use, they ignore,
// pass on, or panic over; so all of them are checked here, before anything is started.

// variable checks the value of a variable, which is not empty. Its error says what to write instead.
type variable func(value string) error

// Bounds of numbers. A day in ms is longer than any interval that makes sense, and far from overflow.
const (
	dayMillis   = 24 * 60 * 60 * 1000
	maxQueue    = 1 << 20 // spans in the batch processor, 16 B each before the first one arrives
	maxLimit    = 1<<31 - 1
	unlimited   = -1
	batchSpans  = 512 // batch of the batch processor unless OTEL_BSP_MAX_EXPORT_BATCH_SIZE is set
	prefixOTLP  = "OTEL_EXPORTER_OTLP_"
	headersHint = "write name=value,name=value, with values percent-encoded"
)

// variables returns the check of each variable that this package, the SDK or an exporter reads.
func (c *Config) variables() map[string]variable {
	all := map[string]variable{
		"OTEL_SDK_DISABLED":     boolean,
		"OTEL_METRICS_EXPORTER": text, "OTEL_TRACES_EXPORTER": text, // checked as settings
		"OTEL_TRACES_SAMPLER": text, "OTEL_TRACES_SAMPLER_ARG": text,
		"OTEL_EXPORTER_PROMETHEUS_HOST": text, "OTEL_EXPORTER_PROMETHEUS_PORT": number(0, 65535),
		"OTEL_METRICS_EXEMPLAR_FILTER": oneOf("always_on", "always_off", "trace_based"),
		"OTEL_SERVICE_NAME":            text, "OTEL_RESOURCE_ATTRIBUTES": attributes,

		"OTEL_METRIC_EXPORT_INTERVAL": number(1, dayMillis),
		"OTEL_METRIC_EXPORT_TIMEOUT":  number(1, dayMillis),
		"OTEL_BSP_SCHEDULE_DELAY":     number(1, dayMillis),
		"OTEL_BSP_EXPORT_TIMEOUT":     number(0, dayMillis),
		"OTEL_BSP_MAX_QUEUE_SIZE":     number(1, maxQueue),
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": func(value string) error {
			return number(1, batchRoom())(value)
		},
		prefixOTLP + "METRICS_TEMPORALITY_PREFERENCE": oneOf("cumulative", "delta", "lowmemory"),
		prefixOTLP + "METRICS_DEFAULT_HISTOGRAM_AGGREGATION": oneOf("explicit_bucket_histogram",
			"base2_exponential_bucket_histogram"),
		"OTEL_GO_X_CARDINALITY_LIMIT": number(unlimited, maxLimit),
	}
	for _, name := range []string{"OBSERVABILITY", "SELF_OBSERVABILITY", "RESOURCE",
		"PER_SERIES_START_TIMESTAMPS", "DEPRECATED_RUNTIME_METRICS"} {
		all["OTEL_GO_X_"+name] = boolean
	}
	for _, name := range []string{"ATTRIBUTE_VALUE_LENGTH", "ATTRIBUTE_COUNT",
		"SPAN_ATTRIBUTE_VALUE_LENGTH", "SPAN_ATTRIBUTE_COUNT", "SPAN_EVENT_COUNT",
		"EVENT_ATTRIBUTE_COUNT", "SPAN_LINK_COUNT", "LINK_ATTRIBUTE_COUNT"} {
		all["OTEL_"+name+"_LIMIT"] = number(unlimited, maxLimit)
	}
	for signal, protocols := range map[string][]string{"": {c.MetricsProtocol, c.TracesProtocol},
		"METRICS_": {c.MetricsProtocol}, "TRACES_": {c.TracesProtocol}} {
		of := prefixOTLP + signal
		maps.Copy(all, map[string]variable{
			of + "PROTOCOL": text, of + "ENDPOINT": endpoint(protocols),
			of + "HEADERS": headers, of + "INSECURE": boolean, of + "TIMEOUT": number(1, dayMillis),
			of + "COMPRESSION": oneOf("gzip", "none"), of + "CERTIFICATE": certificates,
			of + "CLIENT_CERTIFICATE": pairOf(of+"CLIENT_CERTIFICATE", of+"CLIENT_KEY"),
			of + "CLIENT_KEY":         pairOf(of+"CLIENT_CERTIFICATE", of+"CLIENT_KEY"),
		})
	}
	return all
}

// Variables returns the names of the variables of OpenTelemetry: those that FromEnv checks, and those
// that have no effect here, because they are for logs and other things that this package lacks.
func Variables() []string {
	names := slices.Collect(maps.Keys(new(Config).variables()))
	for _, name := range []string{"PROTOCOL", "ENDPOINT", "HEADERS", "INSECURE", "TIMEOUT",
		"COMPRESSION", "CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"} {
		names = append(names, prefixOTLP+"LOGS_"+name)
	}
	for _, name := range []string{"SCHEDULE_DELAY", "EXPORT_TIMEOUT", "MAX_QUEUE_SIZE",
		"MAX_EXPORT_BATCH_SIZE"} {
		names = append(names, "OTEL_BLRP_"+name)
	}
	names = append(names, "OTEL_LOGS_EXPORTER", "OTEL_LOG_LEVEL", "OTEL_PROPAGATORS",
		"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT")
	slices.Sort(names)
	return names
}

// checkVariables returns an error for the first variable with a value that is not taken.
func (c *Config) checkVariables() error {
	all := c.variables()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		value := os.Getenv(name)
		if value == "" {
			continue
		}
		if err := wellFormed(value, all[name]); err != nil {
			return fmt.Errorf("otel: %s: %w", name, err)
		}
	}
	return nil
}

// wellFormed checks a value of a variable, which must be UTF-8: one string that is not stops every
// export.
func wellFormed(value string, check variable) error {
	if !utf8.ValidString(value) {
		return fmt.Errorf("%q is not UTF-8; write it in UTF-8", value)
	}
	return check(strings.TrimSpace(value))
}

func text(string) error { return nil }

func boolean(value string) error { return oneOf("true", "false")(value) }

func oneOf(words ...string) variable {
	return func(value string) error {
		if slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, value) }) {
			return nil
		}
		return fmt.Errorf("the value is %q; write %s", value, strings.Join(words, " or "))
	}
}

// number accepts whole numbers. Times are numbers of milliseconds.
func number(least, most int) variable {
	return func(value string) error {
		if n, err := strconv.Atoi(value); err != nil || n < least || n > most {
			return fmt.Errorf("the value is %q; write a whole number from %d to %d, "+
				"without a unit (times are in milliseconds)", value, least, most)
		}
		return nil
	}
}

// batchRoom is the largest batch of spans: the size of the queue.
func batchRoom() int {
	if n, err := strconv.Atoi(os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE")); err == nil {
		return max(1, n)
	}
	return spanQueue
}

// endpoint accepts URLs of collectors for the protocols in use.
func endpoint(protocols []string) variable {
	return func(value string) error {
		u, err := url.Parse(value)
		hint := "write a URL with scheme, host and port, such as http://localhost:4318"
		if err != nil {
			return fmt.Errorf("%w; %s", err, hint)
		}
		schemes := []string{"http", "https"}
		if !slices.Contains(protocols, ProtocolHTTP) {
			schemes = append(schemes, "", "unix", "unix-abstract", "dns", "passthrough")
			hint = strings.Replace(hint, "4318", "4317", 1)
		}
		port, err := strconv.Atoi(u.Port())
		web := u.Scheme == "" || strings.HasPrefix(strings.ToLower(u.Scheme), "http")
		switch {
		case !slices.Contains(schemes, strings.ToLower(u.Scheme)):
			return fmt.Errorf("the value is %q, whose scheme is %q; %s", value, u.Scheme, hint)
		case web && (u.Hostname() == "" || u.Port() != "" && (err != nil || port > 65535)):
			return fmt.Errorf("the value is %q, which names no host or no valid port; %s", value, hint)
		case u.User != nil || u.RawQuery != "" || u.Fragment != "":
			return fmt.Errorf("the URL has a user, query or fragment, which is not sent; %s, "+
				"and credentials in %sHEADERS", hint, prefixOTLP)
		}
		return nil
	}
}

// headers accepts lists of name=value. Its errors leave out the values, which may be secret.
func headers(value string) error {
	for i, header := range strings.Split(value, ",") {
		name, v, found := strings.Cut(header, "=")
		decoded, err := url.PathUnescape(v)
		token := strings.TrimSpace(name)
		switch {
		case !found:
			return fmt.Errorf("entry %d has no =; %s", i+1, headersHint)
		case token == "" || strings.ContainsFunc(token, notToken):
			return fmt.Errorf("entry %d: %q is no name of a header; %s", i+1, token, headersHint)
		case err != nil:
			return fmt.Errorf("the value of %s has a %% that begins no code; %s", token, headersHint)
		case strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return fmt.Errorf("the value of %s has a control character; %s", token, headersHint)
		}
	}
	return nil
}

// notToken reports whether a rune cannot be in the name of a header (RFC 9110, 5.6.2).
func notToken(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

func certificates(path string) error {
	pem, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w; name a file of certificates in PEM form", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return fmt.Errorf("%q has no certificate in PEM form", path)
	}
	return nil
}

// pairOf accepts a certificate and its key, which two variables name.
func pairOf(certificate, key string) variable {
	return func(string) error {
		c, k := strings.TrimSpace(os.Getenv(certificate)), strings.TrimSpace(os.Getenv(key))
		if c == "" || k == "" {
			return fmt.Errorf("%s and %s belong together; set both or neither", certificate, key)
		}
		if _, err := tls.LoadX509KeyPair(c, k); err != nil {
			return fmt.Errorf("%s and %s: %w; name a certificate and its key in PEM form",
				certificate, key, err)
		}
		return nil
	}
}

// attributes accepts lists of key=value with percent-encoded values, whose keys can be labels of
// target_info.
func attributes(value string) error {
	for pair := range strings.SplitSeq(value, ",") {
		key, v, found := strings.Cut(pair, "=")
		decoded, err := url.PathUnescape(strings.TrimSpace(v))
		switch key = strings.TrimSpace(key); {
		case !found:
			return fmt.Errorf("%q has no value; write key=value,key=value", pair)
		case err != nil:
			return fmt.Errorf("the value of %s is %q, where a %% begins no code; write %%25 for it", key, v)
		case !utf8.ValidString(decoded):
			return fmt.Errorf("the value of %s is %q, which is not UTF-8; write it in UTF-8", key, v)
		}
		if err := checkLabel(key); err != nil {
			return err
		}
	}
	return nil
}
