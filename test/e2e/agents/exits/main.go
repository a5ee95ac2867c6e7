// Command exits is an agent that ends as soon as it begins: a broken build, for the stories of upgrades.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "this agent is broken")
	os.Exit(3)
}
