// Stands for the provider hashicorp/azurerm, of which a mocked provider needs only the schema: what version 4 documents of
// azurerm_cognitive_deployment. The real one takes hundreds of megabytes and a registry.
package main

import (
	"github.com/hashicorp/terraform/helper/schema"
	"github.com/hashicorp/terraform/plugin"
	"github.com/hashicorp/terraform/terraform"
)

func argument(kind schema.ValueType, required bool) *schema.Schema {
	return &schema.Schema{Type: kind, Required: required, Optional: !required}
}

func block(arguments map[string]*schema.Schema) *schema.Schema {
	elem := &schema.Resource{Schema: arguments}
	return &schema.Schema{Type: schema.TypeList, Required: true, MaxItems: 1, Elem: elem}
}

func unused(*schema.ResourceData, interface{}) error {
	panic("only its schema is used")
}

func provider() terraform.ResourceProvider {
	deployment := map[string]*schema.Schema{
		"name":                   argument(schema.TypeString, true),
		"cognitive_account_id":   argument(schema.TypeString, true),
		"rai_policy_name":        argument(schema.TypeString, false),
		"version_upgrade_option": argument(schema.TypeString, false),
		"model": block(map[string]*schema.Schema{
			"format":  argument(schema.TypeString, true),
			"name":    argument(schema.TypeString, true),
			"version": argument(schema.TypeString, false),
		}),
		"sku": block(map[string]*schema.Schema{
			"name":     argument(schema.TypeString, true),
			"tier":     argument(schema.TypeString, false),
			"size":     argument(schema.TypeString, false),
			"family":   argument(schema.TypeString, false),
			"capacity": argument(schema.TypeInt, false),
		}),
	}
	return &schema.Provider{
		Schema: map[string]*schema.Schema{
			"features":        block(map[string]*schema.Schema{}),
			"subscription_id": argument(schema.TypeString, false),
		},
		ResourcesMap: map[string]*schema.Resource{
			"azurerm_cognitive_deployment": {
				Schema: deployment, Create: unused, Read: unused, Update: unused, Delete: unused,
			},
		},
	}
}

func main() {
	plugin.Serve(&plugin.ServeOpts{ProviderFunc: provider})
}
