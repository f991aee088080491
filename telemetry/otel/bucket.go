package otel

// bucket is a token bucket: it admits perSecond events a second on average, and at most a second's worth
// at once. One goroutine owns it. Time is an argument, in ns of any clock.
type bucket struct {
	perSecond float64
	tokens    float64
	last      int64
}

func newBucket(perSecond int, now int64) *bucket {
	return &bucket{perSecond: float64(perSecond), tokens: float64(perSecond), last: now}
}

func (b *bucket) take(now int64) bool {
	if now > b.last {
		b.tokens = min(b.perSecond, b.tokens+float64(now-b.last)/nanosPerSecond*b.perSecond)
		b.last = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
